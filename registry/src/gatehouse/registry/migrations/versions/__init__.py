"""Each step of the schema."""
