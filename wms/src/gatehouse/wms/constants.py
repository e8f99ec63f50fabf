"""Constants in the text of a statement."""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import literal_column
from sqlalchemy.sql import ColumnElement


def among(column: ColumnElement[str], words: Iterable[StrEnum]) -> ColumnElement[bool]:
    """`column IN ('…', …)`. In the text, since a list of parameters could not be compiled once and for all."""
    return column.in_([literal_column(f"'{word.value}'") for word in sorted(words)])
