"""Two spellings of one address: syntax- and scheme-based normalisation of http(s) URIs (RFC 3986 §6.2.2, §6.2.3)."""

import re
from urllib.parse import urlsplit

_URI = re.compile(r"https?://[\x21-\x7e]{1,2040}", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\]")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_DEFAULT_PORT = {"http": "80", "https": "443"}


def normal(uri: str) -> str:
    """The address without query and fragment, in its one spelling; empty when it is no http(s) address of a host."""
    if not _URI.fullmatch(uri):
        return ""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    host, port = _authority(parts.netloc)
    if not _HOST.fullmatch(host) or not (port == "" or (port.isdecimal() and len(port) < 6)):
        return ""
    path = _decoded(parts.path)
    if path is None:
        return ""
    shown = "" if port in ("", _DEFAULT_PORT[parts.scheme]) else f":{int(port)}"
    return f"{parts.scheme}://{host.lower()}{shown}{_without_dots(path)}"


def _authority(netloc: str) -> tuple[str, str]:
    """Host and port; an IPv6 address keeps its brackets."""
    host, colon, port = netloc.rpartition(":")
    return (host, port) if colon and "]" not in port else (netloc, "")


def _decoded(path: str) -> str | None:
    """Percent-encoding as RFC 3986 §6.2.2.2 wants it: none where it is not needed; None where it is broken."""
    if any(found[1] is None for found in _PERCENT.finditer(path)):
        return None

    def spelled(found: re.Match[str]) -> str:
        letter = chr(int(found[1], 16))
        return letter if _UNRESERVED.fullmatch(letter) else found[0].upper()

    return _PERCENT.sub(spelled, path)


def _without_dots(path: str) -> str:
    """No `.` and `..` segments (RFC 3986 §5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
