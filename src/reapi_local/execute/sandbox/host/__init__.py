"""What an action may see of the host, as which user, and why a host allows no sandbox."""
