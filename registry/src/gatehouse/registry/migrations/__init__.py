"""The schema's history: Alembic migrations, one line for the whole database."""
