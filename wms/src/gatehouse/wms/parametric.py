"""Parametric jobs: one description, many jobs.

`Parameters` is a count or a list, `ParameterStart`, `ParameterStep` and `ParameterFactor` make a sequence
(p0 = start, p(i+1) = p(i) * factor + step), and `Parameters.X` and its like name further sequences of the same
length. `%s` stands for the unnamed parameter, `%(X)s` for a named one, `%n` for the index from 0, padded with
zeros. Values are put in once: what a value contains is never expanded again.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from gatehouse.wms.classad import TEXT_LIMIT
from gatehouse.wms.jdltree import NOWHERE, Items, Pair, Place, Record, Text, Value
from gatehouse.wms.manifest import JOBS_LIMIT

NAMES = frozenset({"parameters", "parameterstart", "parameterstep", "parameterfactor"})
EXPANSION_LIMIT = 16 * 1024 * 1024
"""Most characters all expanded jobs of one description may have together."""

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
_LOOP = re.compile(rf"{_NUMBER.pattern}(:{_NUMBER.pattern}){{1,3}}", re.ASCII)
_PLACEHOLDER = re.compile(r"%(?:(?P<unnamed>s)|(?P<index>n)|\((?P<name>[A-Za-z0-9_]{1,64})\)s)")
_HUGE = Decimal(10) ** 18


def expand(plain: Mapping[str, Pair], layer: Mapping[str, Pair]) -> Iterator[Mapping[str, Pair]]:
    """The attributes of each job: `plain` itself when `layer` has no parameters."""
    sequences = _sequences(layer)
    if not sequences:
        yield plain
        return
    count = len(next(iter(sequences.values())))
    width = len(str(count - 1))
    budget = _Budget(EXPANSION_LIMIT)
    for index in range(count):
        values = {name: sequence[index] for name, sequence in sequences.items()}
        filler = _Filler(values, str(index).zfill(width), budget)
        yield {key: Pair(pair.name, filler.fill(pair.value), pair.at) for key, pair in plain.items()}


def loop_values(text: str) -> list[str]:
    """The values of `dsub --Parametric`: commas between words or `start:stop[:step[:factor]]`, `stop` excluded."""
    values: list[str] = []
    if len(text) > TEXT_LIMIT:
        raise NOWHERE.error(f"the parameters are longer than {TEXT_LIMIT // 1024} KiB")
    for part in text.split(","):
        values += _loop(part.strip(), NOWHERE) if _LOOP.fullmatch(part.strip()) else [part.strip()]
        _check_count(len(values), NOWHERE)
    if not all(values):
        raise NOWHERE.error("a parameter between two commas is empty")
    return values


def _loop(text: str, at: Place) -> list[str]:
    start, stop, *rest = (Decimal(part) for part in text.split(":"))
    step = rest[0] if rest else Decimal(1)
    factor = rest[1] if len(rest) > 1 else Decimal(1)
    upwards = start < stop
    values: list[str] = []
    current = start
    while current < stop if upwards else current > stop:
        values.append(_written(current, at))
        _check_count(len(values), at)
        following = current * factor + step
        if following == current or (following < current) is upwards:
            raise at.error(f"{text!r} never gets from {start} to {stop}")
        current = following
    if not values:
        raise at.error(f"{text!r} has no values: the stop itself is left out")
    return values


def _check_count(count: int, at: Place) -> None:
    if count > JOBS_LIMIT:
        raise at.error(f"more than {JOBS_LIMIT} jobs; submit them in several parts")


def _written(number: Decimal, at: Place) -> str:
    if abs(number) > _HUGE:
        raise at.error("the parameters grow beyond 10^18")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _sequences(layer: Mapping[str, Pair]) -> dict[str, list[str]]:
    """Values by parameter name; the unnamed parameter has the name `""`."""
    pairs = {key: pair for key, pair in layer.items() if key.split(".")[0] in NAMES}
    if not pairs:
        return {}
    count = _count(pairs)
    sequences: dict[str, list[str]] = {}
    for key, pair in pairs.items():
        name = _name(pair)
        if name not in sequences:
            sequences[name] = _sequence(name, pairs, count)
        if key.split(".")[0] == "parameters" and len(sequences[name]) != count:
            raise pair.at.error(f"{pair.name} has {len(sequences[name])} values where others have {count}")
    return sequences


def _name(pair: Pair) -> str:
    name = pair.name.partition(".")[2]
    if name and not re.fullmatch(r"[A-Za-z0-9_]{1,64}", name):
        raise pair.at.error(f"{pair.name}: a parameter's name has letters, digits and underscores only")
    return name


def _count(pairs: Mapping[str, Pair]) -> int:
    """How many jobs: by `Parameters`, or by the first named list or count when there is no unnamed one."""
    giving = [pair for key, pair in pairs.items() if key.split(".")[0] == "parameters"]
    if not giving:
        first = next(iter(pairs.values()))
        raise first.at.error(f"{first.name} needs Parameters, the list or number of jobs")
    pair = pairs.get("parameters", giving[0])
    count = len(pair.value.items) if isinstance(pair.value, Items) else _whole(pair)
    if count < 1:
        raise pair.at.error(f"{pair.name} describes no jobs")
    _check_count(count, pair.at)
    return count


def _whole(pair: Pair) -> int:
    number = _decimal(pair)
    if number != int(number):
        raise pair.at.error(f"{pair.name} is a list or a whole number of jobs")
    return int(number)


def _decimal(pair: Pair) -> Decimal:
    text = pair.value.text.strip() if isinstance(pair.value, Text) else ""
    if not _NUMBER.fullmatch(text):
        raise pair.at.error(f"{pair.name} is not a number (at most 15 digits, 9 after the point)")
    return Decimal(text)


def _sequence(name: str, pairs: Mapping[str, Pair], count: int) -> list[str]:
    def at(base: str) -> Pair | None:
        return pairs.get(f"{base}.{name.lower()}" if name else base)

    given = at("parameters")
    if given is not None and isinstance(given.value, Items):
        return [_item(given, item) for item in given.value.items]
    length = count if given is None else _whole(given)
    _check_count(length, given.at if given else Place())
    start, step, factor = at("parameterstart"), at("parameterstep"), at("parameterfactor")
    current = _decimal(start) if start else Decimal(1)
    added = _decimal(step) if step else Decimal(0)
    times = _decimal(factor) if factor else Decimal(1)
    place = (given or start or step or factor or Pair("", Text(""))).at
    values: list[str] = []
    for _ in range(length):
        values.append(_written(current, place))
        current = current * times + added
    return values


def _item(pair: Pair, item: Value) -> str:
    if not isinstance(item, Text):
        raise item.at.error(f"{pair.name} lists plain texts or numbers")
    return item.text


class _Budget:
    """Characters that expansion may still write: a short text must not become gigabytes."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, size: int, at: Place) -> None:
        self._left -= size
        if self._left < 0:
            raise at.error(f"all jobs together are longer than {EXPANSION_LIMIT // 1024**2} MiB")


class _Filler:
    """Puts the values of one job into its attributes."""

    def __init__(self, values: Mapping[str, str], index: str, budget: _Budget) -> None:
        self._values = values
        self._folded = {name.lower(): value for name, value in values.items()}
        self._index = index
        self._budget = budget

    def fill(self, value: Value) -> Value:
        if isinstance(value, Text):
            return self._text(value)
        if isinstance(value, Items):
            return Items(tuple(self.fill(item) for item in value.items), value.at)
        return Record(tuple(Pair(p.name, self.fill(p.value), p.at) for p in value.pairs), value.at)

    def _text(self, value: Text) -> Text:
        self._budget.spend(len(value.text) + 1, value.at)
        if "%" not in value.text:
            return value
        return Text(_PLACEHOLDER.sub(lambda match: self._value(match, value.at), value.text), value.at)

    def _value(self, match: re.Match[str], at: Place) -> str:
        if match["index"]:
            filled = self._index
        elif match["unnamed"]:
            filled = self._values.get("", match.group())
        elif match["name"].lower() in self._folded:
            filled = self._folded[match["name"].lower()]
        else:
            raise at.error(f"{match.group()} stands for no parameter; there is no Parameters.{match['name']}")
        self._budget.spend(len(filled), at)
        return filled
