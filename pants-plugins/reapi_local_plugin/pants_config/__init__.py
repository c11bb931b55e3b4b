"""Edits of Pants' configuration files that keep the rest of the file. Imports nothing of Pants."""
