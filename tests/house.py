"""The house rules that import-linter cannot say, as functions from a source to the lines that break them."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("registry", "tokenmanager", "auth", "wms", "cli")

CLOCKS = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
}
ENGINES = re.compile(
    r"(^|\.)(create_engine|create_async_engine|engine_from_config|create_pool)$|^sqlite3\.connect$"
)
PRIVATE_KEYS = re.compile(
    r"\w*PrivateKey\w*$|(^|\.)(generate_private_key|load_(pem|der|ssh)_private_key|derive_private_key)$"
    r"|^(jwt|joserfc\.jwt|authlib\.jose\.jwt|jose\.jwt)\.encode$"
)
ROUTERS = re.compile(r"^gatehouse\.(tokenmanager|auth|wms)(\.\w+)*\.api(\.|$)")


@dataclass(frozen=True)
class Source:
    """A module of ours, parsed."""

    module: str
    tree: ast.Module

    def within(self, *packages: str) -> bool:
        """Whether it is one of these modules or below one of them."""
        return any(self.module == name or self.module.startswith(f"{name}.") for name in packages)


def parse(module: str, text: str) -> Source:
    """A source from its text."""
    return Source(module, ast.parse(text))


def sources() -> Iterator[Source]:
    """Every module of the five rooms."""
    for room in ROOMS:
        top = ROOT / room / "src"
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            yield parse(".".join(parts).removesuffix(".__init__"), path.read_text())


def imports(source: Source) -> Iterator[tuple[int, str, str, str]]:
    """Of every import anywhere in the module: line, local name, what that name stands for, what is imported."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield node.lineno, alias.asname or first, alias.name if alias.asname else first, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, alias.asname or alias.name, full, full


def references(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, and of every attribute taken from something imported."""
    names = {}
    for line, local, meaning, full in imports(source):
        names[local] = meaning
        yield line, full
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            first, _, rest = dotted.partition(".")
            yield node.lineno, f"{names.get(first, first)}.{rest}"


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)):
        return f"{inner}.{node.attr}"
    return ""


def _breaks(source: Source, forbidden: Callable[[str], object]) -> list[str]:
    found = {(line, name) for line, name in references(source) if forbidden(name)}
    return [f"{source.module}:{line}: {name}" for line, name in sorted(found)]


def reads_the_clock(source: Source) -> list[str]:
    """Only `registry.clock` does; everything else is given a Clock."""
    return [] if source.within("gatehouse.registry.clock") else _breaks(source, CLOCKS.__contains__)


def makes_an_engine(source: Source) -> list[str]:
    """Only `registry.database` does."""
    return [] if source.within("gatehouse.registry.database") else _breaks(source, ENGINES.search)


def touches_private_keys(source: Source) -> list[str]:
    """Only the token manager does, and the demo identity provider, which is a stranger's house."""
    allowed = source.within("gatehouse.tokenmanager", "gatehouse.cli.demo")
    return [] if allowed else _breaks(source, PRIVATE_KEYS.search)


def imports_a_router(source: Source) -> list[str]:
    """Only the assembly does; a router package may import its own parts."""
    if source.within("gatehouse.cli.server"):
        return []
    own = source.module.rpartition(".api")[0] + ".api" if ".api" in source.module else ""
    return _breaks(source, lambda name: ROUTERS.search(name) and not (own and name.startswith(own)))


RULES = (reads_the_clock, makes_an_engine, touches_private_keys, imports_a_router)
