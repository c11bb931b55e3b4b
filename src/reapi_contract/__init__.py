"""What server, launcher and plugin agree on, said once.

Standard library only, CPython 3.9 and newer: the plugin imports it inside Pants. Nothing in here
starts a process or opens a connection.
"""
