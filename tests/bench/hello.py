"""The reference R: a bare ASGI application under uvicorn (uvloop, httptools, one process, no access log)."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

BODY = b"Hello world\n"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))],
}
END = {"type": "http.response.body", "body": BODY}


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer every HTTP request alike, without looking at it."""
    if scope["type"] == "http":
        await send(START)
        await send(END)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
