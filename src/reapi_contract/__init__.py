"""The facts on which the server, the launcher and the plugin agree, each written once.

This package needs only the standard library and works on CPython 3.9 and newer, because the plugin
imports it inside Pants. Nothing here starts a process or opens a connection.
"""
