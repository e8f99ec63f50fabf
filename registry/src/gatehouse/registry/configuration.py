"""From the settings file and the environment to `Settings`, and back to where each value came from."""

import os
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import Settings

MAX_SECRET = 64 * 1024
_PREFIX = "GATEHOUSE_"


def read_file(path: Path) -> dict[str, Any]:
    """The TOML file as nested dicts; relative paths inside it count from its folder."""
    try:
        raw = path.read_bytes()
        if len(raw) > 4 * 1024 * 1024:
            raise ConfigurationError(f"{path} is larger than 4 MiB; is it the settings file?")
        values = tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigurationError(
            f"The settings file {path} cannot be read: {error.strerror}. Give its name with --config FILE."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from error
    _anchor(values, path.resolve().parent)
    return values


_PATHS = {
    "tls_certificate",
    "tls_key",
    "master_key_file",
    "client_secret_file",
    "ca_file",
    "client_ca",
    "file",
    "work_dir",
}


def _anchor(node: Any, folder: Path) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _PATHS and isinstance(value, str):
                node[key] = str(folder / Path(value).expanduser())
            elif key == "database_url" and isinstance(value, str) and value.startswith("sqlite:///"):
                node[key] = "sqlite:///" + str(folder / value.removeprefix("sqlite:///"))
            else:
                _anchor(value, folder)
    elif isinstance(node, list):
        for item in node:
            _anchor(item, folder)


def _names(model: type[BaseModel]) -> Iterator[str]:
    """All names of settings below a section."""
    for name, field in model.model_fields.items():
        yield name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _names(part)


def load(path: Path | None) -> Settings:
    """Settings from a file (may be None) and the environment.

    Raises ConfigurationError naming each wrong setting, what is wrong, and where it was set.
    """
    values = read_file(path) if path else {}
    _known_variables()
    try:
        return Settings(**values)
    except SettingsError as error:
        raise ConfigurationError(
            f"A GATEHOUSE_* variable cannot be read: {error}. Lists and whole sections are given as JSON."
        ) from None
    except ValidationError as error:
        lines = [f"  {_wrong(wrong)}" for wrong in error.errors()]
        where = f"{path} or a GATEHOUSE_* variable" if path else "a GATEHOUSE_* variable"
        raise ConfigurationError(
            "These settings cannot be used (see " + where + "):\n" + "\n".join(lines)
        ) from None  # pydantic's own error may show what was given


def _wrong(error: ErrorDetails) -> str:
    """Which setting, and what is wrong with it; never the value."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    near = get_close_matches(str(error["loc"][-1]), set(_names(Settings)), 1)
    return f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ".")


def _known_variables() -> None:
    """A misspelt section would be overlooked, unlike a misspelt setting in it."""
    for name in os.environ:
        section, nested, _ = name.upper().removeprefix(_PREFIX).partition("__")
        if name.upper().startswith(_PREFIX) and nested and section.lower() not in Settings.model_fields:
            raise ConfigurationError(
                f"The variable {name} sets nothing: there is no section {section.lower()}."
            )


def explain(path: Path | None) -> Iterator[tuple[str, str, str]]:
    """Each setting as (dotted name, value with secrets masked, where it came from)."""
    settings = load(path)
    from_env = EnvSettingsSource(Settings)()
    from_file = read_file(path) if path else {}
    for name, value in _leaves("", settings):
        if _has(from_env, name):
            origin = "environment " + _variable(name)
        elif _has(from_file, name):
            origin = str(path)
        else:
            origin = "default"
        yield name, value, origin


def _variable(dotted: str) -> str:
    """The variable that sets a value: its own, or that of the list or section around it."""
    given = {name.upper() for name in os.environ}
    parts = dotted.upper().split(".")
    names = [_PREFIX + "__".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in names if name in given), names[0])


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _leaves(f"{prefix}.{key}" if prefix else key, getattr(value, key))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, item in enumerate(value):
            yield from _leaves(f"{prefix}.{index}", item)
    else:
        yield prefix, _shown(prefix, value)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return _mask_url(value.get_secret_value()) if name == "database_url" else "********"
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


def _mask_url(text: str) -> str:
    try:
        url = make_url(text)
    except ArgumentError:
        return "********"
    hidden = {name: "hidden" for name in url.query if "pass" in name.lower() or "key" in name.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _has(source: Any, dotted: str) -> bool:
    for key in dotted.split("."):
        if isinstance(source, dict) and key in source:
            source = source[key]
        elif isinstance(source, list | tuple) and key.isdigit() and int(key) < len(source):
            source = source[int(key)]
        else:
            return False
    return True


def secret_of(value: SecretStr | None, file: Path | None, what: str) -> str:
    """A secret given directly or in a file that nobody else may read."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return ""
    try:
        mode = os.stat(file).st_mode
        if mode & 0o077:
            raise ConfigurationError(f"{what}: {file} can be read by others. Run: chmod 600 {file}")
        with file.open("rb") as opened:
            return opened.read(MAX_SECRET).decode().strip()
    except OSError as error:
        raise ConfigurationError(f"{what}: {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what}: {file} is not text.") from None
