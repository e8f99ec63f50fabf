"""Certificate names: one slash spelling for distinguished names (RFC 4514, RFC 2253), and VOMS FQANs.

The slash spelling (`/DC=org/O=Lab/CN=Ada`) is how grid software writes and compares subjects. It cannot show
every name: those that would read as somebody else's are refused.
"""

import re

from gatehouse.registry.entitlements import MAX_BYTES, Membership, Refused, has_control, membership

_TYPE = r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+"
_SLASH_START = re.compile(rf"/(?=(?:{_TYPE})=)")
_RDN = re.compile(rf' *({_TYPE}) *= *((?:[^\\,+;"<>]|\\.)*)', re.DOTALL)
_PIECE = re.compile(r"\\([0-9A-Fa-f]{2})|\\([ \"#+,;<=>\\])|([^\\])", re.DOTALL)
_TRAILING_SPACES = re.compile(r"(?<!\\)((?:\\\\)*) +$")
_STRING_TAGS = frozenset({0x0C, 0x12, 0x13, 0x14, 0x16})  # UTF8, Numeric, Printable, T61, IA5

# Spellings of one attribute type; the right-hand side is what OpenSSL's slash form prints.
_TYPES = {
    **{name.lower(): name for name in ("CN", "C", "O", "OU", "L", "ST", "DC", "UID", "emailAddress")},
    "s": "ST",
    "userid": "UID",
    "e": "emailAddress",
    "email": "emailAddress",
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "1.2.840.113549.1.9.1": "emailAddress",
}

_FQAN_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def normalise_dn(text: str) -> str | Refused:
    """The slash form, in the order of the certificate's encoding, of a slash or RFC 4514 name.

    Reasons: `dn_syntax`, `too_long`, `control_character`, `multi_valued_rdn`, and `ambiguous_dn` for a value
    that would read as further components (`O=Lab/CN=Ada`).
    """
    if len(text) > MAX_BYTES:
        return Refused(text[:MAX_BYTES], "too_long")
    pairs = _slash_pairs(text) if text.startswith("/") else _rfc4514_pairs(text)
    if isinstance(pairs, str):
        return Refused(text, pairs)
    if any(has_control(value) for _, value in pairs):
        return Refused(text, "control_character")
    return "".join(f"/{_TYPES.get(kind.lower(), kind)}={value}" for kind, value in pairs)


def _slash_pairs(text: str) -> list[tuple[str, str]] | str:
    first, *parts = _SLASH_START.split(text)
    pairs = [(kind, value) for kind, _, value in (part.partition("=") for part in parts)]
    well = not first and pairs and all(value and _encodable(value) for _, value in pairs)
    return pairs if well else "dn_syntax"


def _rfc4514_pairs(text: str) -> list[tuple[str, str]] | str:
    pairs: list[tuple[str, str]] = []
    at = 0
    while True:
        found = _RDN.match(text, at)
        value = _unescape(found[2]) if found else None
        if found is None or not value:
            return "dn_syntax"
        if _SLASH_START.search(value):
            return "ambiguous_dn"
        pairs.append((found[1], value))
        at = found.end() + 1
        if found.end() == len(text):
            return pairs[::-1]  # RFC 4514 §2.1 writes the last component first
        if text[found.end()] != ",":
            return "multi_valued_rdn" if text[found.end()] == "+" else "dn_syntax"


def _unescape(raw: str) -> str | None:
    if raw.startswith("#"):
        return _from_ber(raw[1:])
    raw = _TRAILING_SPACES.sub(r"\1", raw)
    out = bytearray()
    at = 0
    while at < len(raw):
        piece = _PIECE.match(raw, at)
        if piece is None:
            return None
        byte, special, plain = piece.groups()
        if not _encodable(plain or ""):
            return None
        out += bytes.fromhex(byte) if byte else (special or plain).encode()
        at = piece.end()
    return _utf8(bytes(out))


def _from_ber(digits: str) -> str | None:
    # RFC 4514 §2.4: '#' and the hexadecimal BER encoding; only short strings occur in names.
    try:
        encoded = bytes.fromhex(digits)
    except ValueError:
        return None
    short = len(encoded) >= 2 and encoded[0] in _STRING_TAGS and encoded[1] == len(encoded) - 2 < 0x80
    return _utf8(encoded[2:]) if short else None


def _utf8(encoded: bytes) -> str | None:
    try:
        return encoded.decode("utf-8")
    except UnicodeError:
        return None


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def parse_fqan(value: str) -> Membership | Refused:
    """Read a VOMS FQAN `/vo/sub/Role=r/Capability=NULL`; `Role=NULL` is no role (VOMS, GFD.182)."""
    if len(value) > MAX_BYTES:
        return Refused(value[:MAX_BYTES], "too_long")
    body = value.removesuffix("/Capability=NULL")
    path, mark, role = body.partition("/Role=")
    components = path.split("/")
    if components[0] or len(components) < 2 or not all(map(_FQAN_GROUP.fullmatch, components[1:])):
        return Refused(value, "group_syntax")
    reason = _role_reason(role) if mark else ""
    if reason:
        return Refused(value, reason)
    return membership(components[1:], role if mark and role != "NULL" else None)


def _role_reason(role: str) -> str:
    if "/Role=" in f"/{role}":
        return "multiple_roles"
    if not role or "/" in role:
        return "role_not_last" if role else "empty_role"
    return "" if _FQAN_GROUP.fullmatch(role) else "group_syntax"
