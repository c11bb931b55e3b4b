"""Round trips that prove that a server works, made as a client of it."""
