"""What a job description is made of once read: texts, lists, records, and where each stood."""

from dataclasses import dataclass


class JdlError(ValueError):
    """A job description that can't be read; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
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
