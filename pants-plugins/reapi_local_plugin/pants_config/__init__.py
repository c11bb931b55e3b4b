"""Lossless edits of Pants' configuration files: standard library only, and no Pants import."""
