"""The grants of the token endpoint: each fills the hooks of authlib's grant and adds no check of its own kind."""
