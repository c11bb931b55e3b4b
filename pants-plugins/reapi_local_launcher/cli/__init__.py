"""The command `reapi-local`."""
