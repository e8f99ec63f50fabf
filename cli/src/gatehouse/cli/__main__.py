"""`python -m gatehouse.cli` is `gatehouse`."""

from gatehouse.cli.main import app

app()
