"""A browser as a program of its own, for `BROWSER`: walks the pages behind a link as a demo person.

`python -m tests.cli.visitor PLACE PERSON LINK` writes the page it ends at, headers first, to PLACE. With a `-` for
the person the link itself leads back, as that of `tests.cli.gate` does.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from tests.auth.kit import Walker, query
from tests.service import Service

ROOT = Path(__file__).resolve().parents[2]
_PLAIN: Any = {"trust_env": False, "verify": False, "timeout": 30}


def script(folder: Path, person: str = "-") -> str:
    """An executable for `BROWSER`; what it came to see is in `folder/seen`."""
    place = folder / "visitor"
    python = (
        f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.cli.visitor "{folder / "seen"}" {person} "$1"'
    )
    place.write_text(f"#!/bin/sh\n{python}\n")
    place.chmod(0o755)
    return str(place)


def walk(link: str, person: str) -> httpx.Response:
    """Log in and allow what is asked; the page on this machine that the answer is brought to."""
    if person == "-":
        return httpx.get(link, follow_redirects=True, **_PLAIN)
    service = cast(Service, SimpleNamespace(issuer=link.partition("/authorization")[0]))
    with Walker(service) as browser:
        answer = browser.allow(link, person)
    return httpx.get(f"{query(link)['redirect_uri']}?{urlencode(answer)}", **_PLAIN)


if __name__ == "__main__":
    page = walk(sys.argv[3], sys.argv[2])
    Path(sys.argv[1]).write_text(f"{page.status_code}\n{page.headers}\n{page.text}")
