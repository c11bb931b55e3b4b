"""What is peculiar to one client: a module each, so that nothing of it is anywhere else."""
