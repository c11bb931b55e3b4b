"""Which action executes when: a state machine without I/O."""
