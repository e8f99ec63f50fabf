"""What the service logs: every line in one form, whoever wrote it."""

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from gatehouse.cli.logs import configure
configure("INFO")
structlog.get_logger().info("ours", refresh_token="abc", path="/x")
logging.getLogger("uvicorn.error").info("Started %s", "it")
logging.getLogger("httpx").info("GET https://provider.example/?code=abc")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("uvicorn.error").exception("broken")
"""


def test_every_line_is_one_json_object() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    ours, started, broken = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event"], ours["path"], ours["refresh_token"]) == ("ours", "/x", "********")
    assert (started["event"], started["logger"], started["level"]) == ("Started it", "uvicorn", "info")
    assert (broken["event"], broken["level"]) == ("broken", "error")
    assert "ZeroDivisionError" in broken["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (ours, started, broken))
