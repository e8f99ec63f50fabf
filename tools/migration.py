"""Write the next migration from the models: `.venv/bin/python tools/migration.py "what changes"`."""

import sys
import tempfile
from pathlib import Path

import gatehouse.auth.models
import gatehouse.registry.models
import gatehouse.tokenmanager.models
import gatehouse.wms.models  # noqa: F401 - the models register themselves
from gatehouse.registry import schema
from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.database import Database

with tempfile.TemporaryDirectory() as folder:
    database = Database(f"sqlite:///{Path(folder) / 'schema.db'}", SYSTEM, b"")
    try:
        schema.upgrade(database)
        schema.revision(database, sys.argv[1])
    finally:
        database.close()
