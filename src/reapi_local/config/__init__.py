"""Settings of the server: one schema for flags, variables, the file and the reference page."""
