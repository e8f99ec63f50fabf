"""The style sheet and the logo, held in memory and served under addresses that change with their content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gatehouse.registry.errors import Problem

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file; `version` is the beginning of its SHA-256."""

    name: str
    content: bytes
    media_type: str
    version: str

    def url(self, prefix: str) -> str:
        """Its address below `prefix`; with the version, so that it may be cached for good."""
        return f"{prefix}/{self.name}?v={self.version}"


def _load(path: Path) -> Asset:
    content = path.read_bytes()
    version = hashlib.sha256(content).hexdigest()[:12]
    return Asset(path.name, content, _TYPES[path.suffix], version)


ASSETS: Mapping[str, Asset] = {
    path.name: _load(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES
}


def serve(request: Request) -> Response:
    """The asset of the path parameter `name`; cached for good when the address carries its version."""
    asset = ASSETS.get(request.path_params["name"])
    if asset is None:
        raise Problem(404, "not_found", "There is no such file.")
    lasting = request.query_params.get("v") == asset.version
    return Response(
        asset.content,
        media_type=asset.media_type,
        headers={
            "Cache-Control": "public, max-age=31536000, immutable" if lasting else "public, max-age=60",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
