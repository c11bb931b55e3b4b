"""Sandboxes that start a supervisor process for each action: bubblewrap and the process group.

In the server: begin with ``supervised_sandbox``, which both share; ``action_dirs`` makes a
directory with a copy of the input root for each action, ``supervisor_process`` starts a supervisor
and talks to it, in the messages of ``supervisor_messages``. In the supervisor's own process:
``supervisor`` waits for the action, ``spawn`` starts it.
"""
