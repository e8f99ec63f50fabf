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
    human = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[*shared, renderer],
    )
    # What libraries log (the web server, the ORM) takes the same form.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in ("httpx", "httpcore", "authlib", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _name(_logger: Any, _method: str, event: Any) -> Any:
    """The part of a library's logger name that says something: uvicorn calls its general log `uvicorn.error`."""
    event["logger"] = event["_record"].name.partition(".")[0]
    return event


def _redact(_logger: Any, _method: str, event: Any) -> Any:
    for name in event:
        if name not in _HARMLESS and any(word in name.lower() for word in _SECRET):
            event[name] = "********"
    return event
