"""What is peculiar to one client: a profile for each, so that no code elsewhere is about it."""
