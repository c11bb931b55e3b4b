"""Sandboxes: ways to run an action's process isolated from the rest of the machine.

Begin with ``interface``, the contract that each sandbox fulfils, and ``choose``, which starts the
strongest one that works on this machine. ``action_paths`` has the paths that every action sees.
``slot`` has the fastest sandbox, ``supervised`` has bubblewrap and the process group, which
isolates nothing. ``host`` decides what an action sees of the host and under which uid it runs;
``linux`` wraps system calls, the seccomp filter, Landlock and cgroups. ``closed_ports`` keeps
actions from the server itself. ``limit_messages`` turns limits that an action exceeded into words,
``stdio_capture`` saves what an action writes to standard output and error.
"""
