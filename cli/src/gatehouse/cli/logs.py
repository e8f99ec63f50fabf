"""Logs: one JSON object per line on stderr, or coloured text for a person at a terminal."""

import logging
import sys
from typing import Any

import structlog

# names whose values are never written down, wherever they turn up in an event
_SECRET = ("token", "secret", "password", "code", "authorization", "cookie", "verifier", "assertion")
_HARMLESS = {"code", "status_code", "error_code"}  # our own Problem codes are words


def configure(level: str) -> None:
    """Set up logging for this process."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")
    for name in ("httpx", "httpcore", "authlib", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    human = sys.stderr.isatty()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
    )


def _redact(_logger: Any, _method: str, event: Any) -> Any:
    for name in event:
        if name not in _HARMLESS and any(word in name.lower() for word in _SECRET):
            event[name] = "********"
    return event
