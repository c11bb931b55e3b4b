"""What is in the store, described for people: actions, commands, trees, results and files."""
