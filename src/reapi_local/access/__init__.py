"""Who may do what, decided before a call reaches a service."""
