"""Demo: what `make demo` needs around the service; nothing here belongs in production."""
