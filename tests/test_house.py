"""The house rules over the whole tree; each rule first shows that it catches what it forbids."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
from authlib.oauth2.rfc6749 import ClientMixin

import gatehouse
from tests import house

PLANTED = [
    (house.reads_the_clock, "import time\nstarted = time.monotonic()"),
    (house.reads_the_clock, "from time import time as now"),
    (house.reads_the_clock, "from datetime import UTC, datetime\nat = datetime.now(UTC)"),
    (house.reads_the_clock, "import datetime as dt\nclock = dt.datetime.now"),
    (house.makes_an_engine, "from sqlalchemy import create_engine"),
    (house.makes_an_engine, "import sqlalchemy as sa\nengine = sa.create_engine('sqlite://')"),
    (house.makes_an_engine, "import sqlite3\nsqlite3.connect('x')"),
    (
        house.touches_private_keys,
        "from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey",
    ),
    (
        house.touches_private_keys,
        "from cryptography.hazmat.primitives.asymmetric import ec\nec.generate_private_key(0)",
    ),
    (house.touches_private_keys, "import jwt\ndef sign(c, k):\n    return jwt.encode(c, k)"),
    (house.imports_a_router, "def late():\n    from gatehouse.wms.api import router"),
    (house.imports_a_router, "from gatehouse.auth import api"),
    (house.imports_a_router, "import gatehouse.auth.pages.api"),
]

INNOCENT = """
import time
from datetime import datetime, timedelta
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
import jwt
from gatehouse.wms import apiary
time.sleep(1); datetime.fromtimestamp(0); jwt.decode("", "")
"""

# Parts of the light client's rooms that run on the server's side only.
SERVER_SIDE = (
    *("server", "direct", "edge", "health", "logs", "patience"),
    *(
        "demo",
        "admin",
        "doctor",
        "serving",
        "registrations",
        "certificateport",
        "forwarded",
        "openapi",
        "resource",
    ),
)
# What of the job room works on a person's machine or on a worker node.
LIGHT_WMS = (
    "agent",
    "archive",
    "attributes",
    "classad",
    "jdl",
    "jdltree",
    "manifest",
    "parametric",
    "states",
    "tarstream",
)


@pytest.mark.parametrize(("rule", "text"), PLANTED)
def test_a_rule_catches_its_breach(rule: Callable[[house.Source], list[str]], text: str) -> None:
    assert rule(house.parse("gatehouse.auth.planted", text))


@pytest.mark.parametrize("rule", house.RULES)
def test_a_rule_leaves_others_alone(rule: Callable[[house.Source], list[str]]) -> None:
    assert rule(house.parse("gatehouse.auth.planted", INNOCENT)) == []


@pytest.mark.parametrize("rule", house.RULES)
def test_the_house_keeps_the_rule(rule: Callable[[house.Source], list[str]]) -> None:
    every = list(house.sources())
    assert len(every) > 20
    assert [breach for source in every for breach in rule(source)] == []


def modules() -> Iterator[str]:
    """Names of all our modules, without importing them twice."""
    for found in pkgutil.walk_packages(gatehouse.__path__, "gatehouse."):
        if not found.name.endswith("__main__") and ".migrations." not in found.name:
            yield found.name


def coroutine_overrides(cls: type) -> list[str]:
    """Hooks of authlib that a class of ours overrides with a coroutine function.

    authlib calls its hooks synchronously and tests the answer for truth; a coroutine is always true, so that such
    an override lets everybody in.
    """
    theirs = [base for base in cls.__mro__ if base.__module__.split(".")[0] == "authlib"]
    return [
        f"{cls.__module__}.{cls.__qualname__}.{name}"
        for name, value in vars(cls).items()
        if (inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value))
        and any(name in vars(base) for base in theirs)
    ]


def test_an_authlib_hook_as_coroutine_is_caught() -> None:
    class Client(ClientMixin):  # type: ignore[misc]  # authlib has no types
        async def check_client_secret(self, client_secret: str) -> bool:
            return False

        async def ours(self) -> None: ...

    assert [name.rpartition(".")[2] for name in coroutine_overrides(Client)] == ["check_client_secret"]


def test_no_authlib_hook_is_a_coroutine() -> None:
    seen = 0
    breaches = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules():
            module = importlib.import_module(name)
            for cls in vars(module).values():
                if inspect.isclass(cls) and cls.__module__ == name:
                    seen += 1
                    breaches += coroutine_overrides(cls)
    assert breaches == []
    assert seen > 20


def light_modules() -> list[str]:
    """Modules that the base install must be able to import: all commands but the server's, the job descriptions."""
    server_side = tuple(f"gatehouse.cli.{name}" for name in SERVER_SIDE)
    light = tuple(f"gatehouse.wms.{name}" for name in LIGHT_WMS)
    return [
        source.module
        for source in house.sources()
        if (source.within("gatehouse.cli") and not source.within(*server_side)) or source.within(*light)
        if not source.module.endswith("__main__")
    ]


ONLY_CLIENT = """
import importlib, importlib.abc, json, sys
request = json.load(sys.stdin)
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in request["refused"]:
            raise ModuleNotFoundError(f"{name} belongs to the server", name=name)
sys.meta_path.insert(0, Refuse())
bad = {}
for name in request["modules"]:
    try:
        importlib.import_module(name)
    except Exception as error:
        bad[name] = f"{type(error).__name__}: {error}"
print(json.dumps(bad))
"""

SERVER_PACKAGES = (
    *("alembic", "authlib", "cachetools", "cryptography", "fastapi", "httptools", "jinja2", "joserfc", "jwt"),
    *("msgspec", "multipart", "psycopg", "pydantic_settings", "pymysql", "python_multipart", "sqlalchemy"),
    *("sqlmodel", "starlette", "structlog", "uvicorn", "uvloop"),
)


def import_with_client_only(names: list[str]) -> dict[str, str]:
    """Import modules in a new interpreter that has none of the server's packages; name → what was missing."""
    request = json.dumps({"refused": SERVER_PACKAGES, "modules": names})
    done = subprocess.run(
        [sys.executable, "-c", ONLY_CLIENT],
        input=request,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    result: dict[str, str] = json.loads(done.stdout)
    return result


def test_the_light_client_needs_no_server_package() -> None:
    names = light_modules()
    assert {"gatehouse.cli.main", "gatehouse.cli.login", "gatehouse.cli.jobs", "gatehouse.wms.states"} <= set(
        names
    )
    assert import_with_client_only(names) == {}


def test_a_server_part_would_be_noticed() -> None:
    assert list(import_with_client_only(["gatehouse.registry.database"])) == ["gatehouse.registry.database"]
