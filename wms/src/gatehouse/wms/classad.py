"""The grammar of job descriptions (JDL): one record of `name = value;` pairs, as in light ClassAds.

    document := "[" pairs "]" | pairs
    pairs    := pair (";" pair)*, a last ";" allowed
    pair     := name "=" value
    value    := string | word | "{" value, ... "}" | "[" pairs "]"

Strings are in double quotes, end on their line, and know the escapes backslash-quote, backslash-backslash,
`\\n`, `\\t` and `\\r`. A word is unquoted text without spaces (numbers, site names, what `dsub` passes on). Comments
are `//` to the end of the line, `/* */`, and lines whose first mark is `#`. What DIRAC's own reader mangles
silently (a `;` or `//` inside a string, an empty value) is either read as meant or refused with its place.
"""

import re
from bisect import bisect_right

from gatehouse.wms.jdltree import Items, Pair, Place, Record, Text, Value

TEXT_LIMIT = 64 * 1024
DEPTH_LIMIT = 8
NAME_LIMIT = 128

_SPACE = re.compile(r"[ \t\r\n\f]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_WORD = re.compile(r'[^\s;,{}\[\]"]+')
_PLAIN = re.compile(r'[^"\\\n\r]+')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def parse(text: str) -> tuple[Pair, ...]:
    """The pairs of one job description; `JdlError` says where and why there are none."""
    reader = _reader(text)
    reader.skip()
    if reader.take("["):
        pairs = reader.pairs("]", 1)
        if not reader.take("]"):
            raise reader.place().error(f"the '[' at the start is not closed; found {reader.seen()}")
    else:
        pairs = reader.pairs("", 1)
    reader.skip()
    if not reader.at_end():
        raise reader.place().error(f"nothing may follow the description; found {reader.seen()}")
    return pairs


def parse_value(text: str, start: Place) -> Value:
    """One value standing at `start` of a larger text, for `#JDL` lines; a `;` may follow it."""
    reader = _reader(text, start)
    reader.skip()
    value = reader.value(1)
    reader.skip()
    reader.take(";")
    reader.skip()
    if not reader.at_end():
        raise reader.place().error(f"nothing may follow the value; found {reader.seen()}")
    return value


def _reader(text: str, start: Place = Place()) -> "_Reader":
    if len(text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT:
        raise start.error(f"the description is longer than {TEXT_LIMIT // 1024} KiB")
    return _Reader(text, start)


class _Reader:
    """A cursor over the text: every step consumes something, and depth is bounded, so reading always ends."""

    def __init__(self, text: str, start: Place) -> None:
        self._text = text
        self._position = 0
        self._start = start
        self._lines = [0, *(mark.end() for mark in re.finditer("\n", text))]

    def place(self, position: int | None = None) -> Place:
        position = self._position if position is None else position
        line = bisect_right(self._lines, position) - 1
        column = position - self._lines[line]
        return Place(self._start.line + line, column + (1 if line else self._start.column))

    def at_end(self) -> bool:
        return self._position >= len(self._text)

    def seen(self) -> str:
        return "the end of the text" if self.at_end() else repr(self._text[self._position])

    def take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._position):
            return False
        self._position += len(mark)
        return True

    def skip(self) -> None:
        """Skip spaces and comments."""
        while not self.at_end():
            if space := _SPACE.match(self._text, self._position):
                self._position = space.end()
            elif self._text.startswith("//", self._position) or self._starts_hash_line():
                end = self._text.find("\n", self._position)
                self._position = len(self._text) if end < 0 else end
            elif self._text.startswith("/*", self._position):
                self._skip_block()
            else:
                return

    def _starts_hash_line(self) -> bool:
        if self._text[self._position] != "#":
            return False
        line = self._lines[bisect_right(self._lines, self._position) - 1]
        return not self._text[line : self._position].strip()

    def _skip_block(self) -> None:
        end = self._text.find("*/", self._position + 2)
        if end < 0:
            raise self.place().error("this comment is never closed with '*/'")
        self._position = end + 2

    def pairs(self, closing: str, depth: int) -> tuple[Pair, ...]:
        found: list[Pair] = []
        while True:
            self.skip()
            if self.at_end() or (closing and self._text[self._position] == closing):
                return tuple(found)
            if self.take(";"):
                continue
            found.append(self._pair(depth))
            self.skip()
            if self.at_end() or (closing and self._text[self._position] == closing):
                return tuple(found)
            if not self.take(";"):
                raise self.place().error(
                    f"expected ';' after the value of {found[-1].name}, found {self.seen()}"
                )

    def _pair(self, depth: int) -> Pair:
        start = self.place()
        name = _NAME.match(self._text, self._position)
        if name is None:
            raise start.error(f"expected the name of an attribute, found {self.seen()}")
        if len(name.group()) > NAME_LIMIT:
            raise start.error(f"a name has at most {NAME_LIMIT} characters")
        self._position = name.end()
        self.skip()
        if not self.take("="):
            raise self.place().error(f"expected '=' after {name.group()}, found {self.seen()}")
        self.skip()
        if self.at_end() or self._text[self._position] in ";]":
            raise self.place().error(f'{name.group()} has no value; write "" for empty text')
        return Pair(name.group(), self.value(depth), start)

    def value(self, depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise self.place().error(f"lists and records nest at most {DEPTH_LIMIT} deep")
        start = self.place()
        if self.take('"'):
            return Text(self._string(start), start)
        if self.take("{"):
            return Items(self._items(start, depth + 1), start)
        if self.take("["):
            return Record(self._record(start, depth + 1), start)
        return Text(self._word(start), start)

    def _record(self, start: Place, depth: int) -> tuple[Pair, ...]:
        pairs = self.pairs("]", depth)
        if not self.take("]"):
            raise start.error("no ']' closes this record")
        return pairs

    def _items(self, start: Place, depth: int) -> tuple[Value, ...]:
        found: list[Value] = []
        while True:
            self.skip()
            if self.take("}"):
                return tuple(found)
            if self.at_end():
                raise start.error("no '}' closes this list")
            found.append(self.value(depth))
            self.skip()
            if not self.take(",") and not self.at_end() and self._text[self._position] != "}":
                raise self.place().error(f"expected ',' or '}}' in a list, found {self.seen()}")

    def _string(self, start: Place) -> str:
        parts: list[str] = []
        while True:
            if plain := _PLAIN.match(self._text, self._position):
                parts.append(plain.group())
                self._position = plain.end()
            if self.take('"'):
                return "".join(parts)
            if not self.take("\\"):
                raise start.error("this string is not closed on its line; '\"' is missing")
            parts.append(self._escape())

    def _escape(self) -> str:
        mark = self._text[self._position : self._position + 1]
        if mark not in _ESCAPES or not mark:
            raise self.place(self._position - 1).error(
                f"unknown escape '\\{mark.strip()}'; write '\\\\' for a backslash"
            )
        self._position += 1
        return _ESCAPES[mark]

    def _word(self, start: Place) -> str:
        word = _WORD.match(self._text, self._position)
        if word is None:
            raise start.error(f"expected a value, found {self.seen()}")
        if "//" in word.group() or "/*" in word.group():
            raise start.error("put this text in double quotes: as it stands, it may be a comment")
        self._position = word.end()
        return word.group()
