"""Pants backend of this repository alone: runs a ruff newer than the one Pants 2.17 can call."""
