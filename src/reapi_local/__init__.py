"""A Remote Execution API server that one command starts: blob store and action cache."""

__version__ = "0.1.0"
