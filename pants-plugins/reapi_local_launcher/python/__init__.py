"""The Python that runs the server: an interpreter that is there, or a private environment."""
