"""CLI: the commands, the Python API, and the one place where the server is assembled."""
