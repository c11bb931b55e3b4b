"""The admin interface: HTTP and JSON on loopback, for what the standard library has to reach."""
