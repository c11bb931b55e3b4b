"""Certificates of the server: they are read, watched for changes, and made."""
