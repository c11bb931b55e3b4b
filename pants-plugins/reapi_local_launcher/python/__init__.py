"""The Python that runs the server: found, or made once."""
