"""What a job description is made of once read: texts, lists, records, and where each stood."""

from dataclasses import dataclass


class JdlError(ValueError):
    """A job description that can't be read; `line` and `column` count from 1, and are 0 outside of any text."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}" if line else message)
        self.line = line
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the text, from 1."""

    line: int = 1
    column: int = 1

    def error(self, message: str) -> JdlError:
        return JdlError(self.line, self.column, message)


NOWHERE = Place(0, 0)
"""The place of what comes from a command option and stands in no text."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string or a word: what it means (text, number) is up to the attribute."""

    text: str
    at: Place = Place()


@dataclass(frozen=True, slots=True)
class Items:
    """A list in braces."""

    items: "tuple[Value, ...]"
    at: Place = Place()


@dataclass(frozen=True, slots=True)
class Pair:
    """`name = value`."""

    name: str
    value: "Value"
    at: Place = Place()


@dataclass(frozen=True, slots=True)
class Record:
    """A record in brackets, pairs in the order of the text."""

    pairs: tuple[Pair, ...]
    at: Place = Place()


Value = Text | Items | Record
