"""Running actions on this machine.

Begin with ``local_executor``, which drives the scheduler. ``resolver`` makes a job from an action,
``process_environment`` makes a process from the job, and ``runner`` runs it in a sandbox.
``inputs`` provides its input root, ``outputs`` collects its outputs, and ``policy`` says what it
may have.
"""
