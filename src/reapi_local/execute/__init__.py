"""Executing actions.

Begin with ``executor``, the contract that services use. ``local`` fulfils it on this machine:
``queue`` decides which action is next, ``sandbox`` isolates it. ``clients`` has what a client
expects beyond REAPI.
"""
