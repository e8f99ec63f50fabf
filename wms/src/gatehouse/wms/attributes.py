"""Values of single attributes: from the tree of a description to texts, lists, numbers, variables."""

import re

from gatehouse.wms.classad import TEXT_LIMIT
from gatehouse.wms.jdltree import Items, Pair, Record, Text, Value

_WIDTHS = {"name": 128, "job_group": 128, "job_type": 32}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def text_of(pair: Pair) -> str:
    """The one text of an attribute, without control characters."""
    return _plain(pair, pair.value)


def _plain(pair: Pair, value: Value) -> str:
    if not isinstance(value, Text):
        raise value.at.error(f"{pair.name} is one text, not a list or record")
    if _CONTROL.search(value.text):
        raise value.at.error(f"{pair.name} contains a control character")
    return value.text


def field_of(pair: Pair, field: str) -> str:
    """The text of a manifest's field: stripped, not too long; a list of arguments is joined by spaces."""
    if field == "arguments" and isinstance(pair.value, Items):
        return " ".join(_plain(pair, item) for item in pair.value.items)
    text = text_of(pair).strip()
    width = _WIDTHS.get(field, TEXT_LIMIT)
    if len(text) > width:
        raise pair.at.error(f"{pair.name} has at most {width} characters")
    if not text and field.startswith("std_"):
        raise pair.at.error(f"{pair.name} is empty; leave it out for the default")
    return text.upper() if field == "log_level" else text


def words_of(pair: Pair) -> list[str]:
    """A list, or one text with commas: both are in use for sites and files. Doubles are dropped."""
    if isinstance(pair.value, Items):
        words = [_plain(pair, item).strip() for item in pair.value.items]
    else:
        words = [word.strip() for word in text_of(pair).split(",")]
    return list(dict.fromkeys(word for word in words if word))


def integer_of(pair: Pair, low: int, high: int) -> int:
    """A whole number within bounds."""
    text = text_of(pair).strip()
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        raise pair.at.error(f"{pair.name} is a whole number from {low} to {high}, not {text[:40]!r}")
    number = int(text)
    if not low <= number <= high:
        raise pair.at.error(f"{pair.name} is a whole number from {low} to {high}, not {number}")
    return number


def truth_of(pair: Pair) -> bool:
    """True or false, in the words ClassAds and people use."""
    text = text_of(pair).strip().lower()
    if text not in {"true", "yes", "1", "false", "no", "0"}:
        raise pair.at.error(f"{pair.name} is true or false, not {text[:40]!r}")
    return text in {"true", "yes", "1"}


def environment_of(pair: Pair) -> dict[str, str]:
    """Variables given as a record, as a list of `NAME=value`, or as one text with `;` between them."""
    if isinstance(pair.value, Record):
        entries = [(item.name, _plain(item, item.value)) for item in pair.value.pairs]
    else:
        value = pair.value
        texts = [_plain(pair, i) for i in value.items] if isinstance(value, Items) else value.text.split(";")
        entries = [_assignment(pair, text) for text in texts if text.strip()]
    variables: dict[str, str] = {}
    for name, text in entries:
        if not _VARIABLE.fullmatch(name) or name in variables:
            raise pair.at.error(f"{name[:40]!r} is no name of a variable, or is given twice")
        variables[name] = text
    return variables


def _assignment(pair: Pair, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or _CONTROL.search(text):
        raise pair.at.error(f"{pair.name} takes NAME=value, not {text[:40]!r}")
    return name.strip(), value
