"""Finding, starting, checking and stopping the server."""
