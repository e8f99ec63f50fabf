"""Taking a DIRAC-style Registry into the database: again and again with the same result."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table, bindparam, delete, select, update

from gatehouse.registry import audit, cfg, dirac, directory
from gatehouse.registry.database import Statement, Tx, insertion, sql, table
from gatehouse.registry.diracdata import DIRAC_DN, Ignored, RegistryData, RegistryError
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.models import Group, Identity, Membership, Vo

MAX_FILE = 16 * 1024 * 1024
MAX_NAME = 128
MAX_DN = 255


@dataclass(frozen=True, slots=True)
class Imported:
    """What was taken in."""

    vos: int
    groups: int
    users: int
    ignored: tuple[Ignored, ...]


class _Name(NamedTuple):
    name: str


_Named = type[Vo] | type[Group]
_T: dict[_Named, Table] = {Vo: table(Vo), Group: table(Group)}
_NAMES = {model: sql(select(t.c.name), _Name) for model, t in _T.items()}
_DROP: dict[_Named, Statement[tuple[()]]] = {
    model: sql(delete(t).where(t.c.name == bindparam("gone"))) for model, t in _T.items()
}
_ADD = {model: insertion(model) for model in _T}
_SET_VO: Statement[tuple[()]] = sql(
    update(_T[Vo]).where(_T[Vo].c.name == bindparam("which")).values(options=bindparam("all_options"))
)
_SET_GROUP: Statement[tuple[()]] = sql(
    update(_T[Group])
    .where(_T[Group].c.name == bindparam("which"))
    .values(vo=bindparam("of_vo"), properties=bindparam("all_properties"), options=bindparam("all_options"))
)
_ADD_IDENTITY = insertion(Identity)
_FORGET_LISTINGS: Statement[tuple[()]] = sql(
    delete(table(Membership)).where(table(Membership).c.source == directory.REGISTRY)
)
_FORGET_NAMES: Statement[tuple[()]] = sql(
    delete(table(Identity)).where(table(Identity).c.issuer == directory.DN_ISSUER)
)


def read_file(path: Path) -> RegistryData:
    """The Registry of a `.cfg` file. Raises ConfigurationError that names the line or the option."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The registry file {path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"The registry file {path} is larger than 16 MiB.")
    try:
        return read_text(raw.decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The registry file {path} is not UTF-8.") from error
    except (cfg.CfgError, RegistryError) as error:
        raise ConfigurationError(f"The registry file {path} cannot be used: {error}.") from error


def read_text(text: str) -> RegistryData:
    """The Registry of a `.cfg` text. Raises CfgError or RegistryError."""
    tree = cfg.parse(text)
    found = tree.section("Registry")
    return dirac.read(tree if found is None else found)


def apply(tx: Tx, data: RegistryData, actor: str) -> Imported:
    """Make the database say what the Registry says of VOs, groups, who is listed in them, and who has which DN.

    People stay when the Registry no longer names them, without what it gave them. Raises ConfigurationError.
    """
    _check_names(data)
    _replace(tx, Vo, {vo.name: {"options": _packed(vo)} for vo in data.vos.values()})
    _replace(
        tx,
        Group,
        {
            group.name: {
                "vo": group.vo,
                "properties": msgspec.json.encode(sorted(group.properties)).decode(),
                "options": _packed(group),
            }
            for group in data.groups.values()
        },
    )
    too_long = _people(tx, data)
    done = Imported(len(data.vos), len(data.groups), len(data.users), (*data.ignored, *too_long))
    audit.record(tx, "registry.imported", actor=actor, vos=done.vos, groups=done.groups, users=done.users)
    return done


def _replace(tx: Tx, model: _Named, wanted: Mapping[str, dict[str, Any]]) -> None:
    present = {row.name for row in tx.all(_NAMES[model])}
    for name in sorted(present - wanted.keys()):
        tx.run(_DROP[model], gone=name)
    for name, values in wanted.items():
        if name not in present:
            tx.run(_ADD[model], name=name, **values)
        elif model is Vo:
            tx.run(_SET_VO, which=name, all_options=values["options"])
        else:
            tx.run(
                _SET_GROUP,
                which=name,
                of_vo=values["vo"],
                all_properties=values["properties"],
                all_options=values["options"],
            )


def _check_names(data: RegistryData) -> None:
    for section, names in (("VO", data.vos), ("Groups", data.groups), ("Users", data.users)):
        for name in names:
            if len(name) > MAX_NAME:
                raise ConfigurationError(
                    f"Registry/{section}/{name[:40]}…: a name may have {MAX_NAME} characters at most."
                )


def _people(tx: Tx, data: RegistryData) -> list[Ignored]:
    listed: dict[str, list[tuple[str, str]]] = {name: [] for name in data.users}
    for group in data.groups.values():
        for name in group.users:
            # DIRAC's `Suspended` names VOs: there the person is nobody
            if name in listed and group.vo not in data.users[name].suspended:
                listed[name].append((group.name, f"listed in the Registry under {group.name}/Users"))
    tx.run(_FORGET_LISTINGS)
    tx.run(_FORGET_NAMES)
    ignored: list[Ignored] = []
    for user in data.users.values():
        person = directory.register(tx, user.name, user.email, user.suspended)
        names = dict.fromkeys([*user.dns, *(DIRAC_DN + one for one in user.ids)])
        kept = [dn for dn in names if len(dn) <= MAX_DN]
        ignored += [
            Ignored(f"/Registry/Users/{user.name}/DN", f"'{dn[:40]}…' is longer than {MAX_DN} characters.")
            for dn in names
            if dn not in kept
        ]
        tx.many(_ADD_IDENTITY, [_identity(dn, person.id, tx.clock.now()) for dn in kept])
        directory.replace_memberships(tx, person.id, directory.REGISTRY, listed[user.name])
    return ignored


def _identity(dn: str, user_id: str, now: int) -> dict[str, Any]:
    return {"issuer": directory.DN_ISSUER, "subject": dn, "user_id": user_id, "seen_at": now, "claims": "[]"}


def _packed(value: Any) -> str:
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "users"}
    fields["options"] = dict(value.options)
    return msgspec.json.encode(fields).decode()
