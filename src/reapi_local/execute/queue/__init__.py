"""Decides which action executes when: a state machine without I/O. Begin with ``scheduler``."""
