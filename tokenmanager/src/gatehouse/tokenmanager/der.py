"""The little of DER (X.690) that certificate extensions of the grid need: read strictly, never guessed."""

_STRINGS = frozenset({0x0C, 0x13, 0x16})  # UTF8String, PrintableString, IA5String
SEQUENCE, INTEGER, OID, OCTETS = 0x30, 0x02, 0x06, 0x04


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, content) pairs that fill `data`. Raises ValueError for anything but short or minimal lengths."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        start, length = _length(data, at + 1)
        if data[at] & 0x1F == 0x1F or start + length > len(data):
            raise ValueError("a cut or multi-byte element")
        found.append((data[at], data[start : start + length]))
        at = start + length
    return found


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ValueError("no length")
    first = data[at]
    if first < 0x80:
        return at + 1, first
    count = first & 0x7F
    octets = data[at + 1 : at + 1 + count]
    length = int.from_bytes(octets, "big")
    if not 1 <= count <= 3 or len(octets) != count or length < 0x80 or octets[0] == 0:
        raise ValueError("a length that is not minimal")
    return at + 1 + count, length


def only(data: bytes, tag: int) -> bytes:
    """The content of the one element in `data`, which has this tag. Raises ValueError."""
    (found, content), *more = elements(data) or [(-1, b"")]
    if found != tag or more:
        raise ValueError("another element than expected")
    return content


def text(data: bytes) -> str:
    """The text of the one character string in `data`. Raises ValueError."""
    (found, content), *more = elements(data) or [(-1, b"")]
    if found not in _STRINGS or more:
        raise ValueError("not a character string")
    return content.decode("utf-8")
