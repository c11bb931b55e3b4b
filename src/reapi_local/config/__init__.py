"""Settings of the server: flags, variables, file and reference page come from one schema."""
