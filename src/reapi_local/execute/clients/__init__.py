"""What is peculiar to one client: a profile each, so that nothing of it is anywhere else."""
