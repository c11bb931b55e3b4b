"""The commands: each module has a function `run`, which takes the options of its command.

`run` returns the exit status, or raises LauncherError. A module is imported only for its command.
"""
