"""Reading mapping rules and overlays from the plain dicts of a claim-sets file, with errors that name the spot."""

import math
from datetime import UTC, datetime
from typing import cast, get_args

from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.entitlements import Membership, Refused, membership
from gatehouse.registry.rules import (
    Issuer,
    Kind,
    OverlayRow,
    RegistryEntry,
    RegistryGroup,
    Row,
    Rules,
    ServiceClient,
)


class RulesError(ValueError):
    """The rules cannot be used: `where` in the document, and what is wrong there."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where


def parse_rules(data: object, where: str = "rules") -> Rules:
    """Rules from their JSON form (the `rules` object of `gatehouse-claimsets/1`); raises `RulesError`."""
    rules = _object(data, where)
    time = _object(rules.get("evaluation_time", {}), f"{where}.evaluation_time")
    issuers = _object(rules.get("issuers"), f"{where}.issuers")
    return Rules(
        issuers={url: _issuer(url, value, f"{where}.issuers[{url}]") for url, value in issuers.items()},
        table=tuple(_row(value, at) for value, at in _items(rules, "table", where)),
        service_clients=tuple(_client(value, at) for value, at in _items(rules, "service_clients", where)),
        registry=_registry(rules, where),
        service_audiences=_texts(rules.get("service_audiences", []), f"{where}.service_audiences"),
        leeway=_number(time.get("leeway_s", 60), f"{where}.evaluation_time.leeway_s"),
    )


def parse_epoch(data: object, where: str = "rules") -> float:
    """The evaluation time of the rules, epoch seconds; raises `RulesError`."""
    time = _object(_object(data, where).get("evaluation_time"), f"{where}.evaluation_time")
    return _number(time.get("epoch"), f"{where}.evaluation_time.epoch")


def parse_overlay(data: object, where: str = "registry_overlay") -> tuple[OverlayRow, ...]:
    """Overlay rows from their JSON form; None is none. Raises `RulesError`."""
    if data is None:
        return ()
    return tuple(_overlay_row(value, f"{where}[{at}]") for at, value in enumerate(_list(data, where)))


def _issuer(url: str, data: object, where: str) -> Issuer:
    known = _object(data, where)
    kind = _text(known.get("kind"), f"{where}.kind")
    if kind not in get_args(Kind):
        raise RulesError(f"{where}.kind", f"must be one of {', '.join(get_args(Kind))}")
    claims = known.get("group_claims")
    return Issuer(
        url=url,
        kind=cast(Kind, kind),
        client_id="" if "client_id" not in known else _text(known["client_id"], f"{where}.client_id"),
        namespaces=_texts(known.get("namespaces", []), f"{where}.namespaces"),
        authorities=_texts(known.get("authorities", []), f"{where}.authorities"),
        authority_optional=_flag(known.get("authority_optional", False), f"{where}.authority_optional"),
        vos=_texts(known.get("vos", []), f"{where}.vos"),
        group_claims=None if claims is None else _group_claims(claims, f"{where}.group_claims"),
        aud_required=_flag(known.get("aud_required", False), f"{where}.aud_required"),
    )


def _group_claims(data: object, where: str) -> tuple[tuple[str, ...], ...]:
    return tuple(_texts(entry, where) for entry in _list(data, where))


def _row(data: object, where: str) -> Row:
    row = _object(data, where)
    return Row(_text(row.get("issuer"), f"{where}.issuer"), _member(row, "path", where), _group(row, where))


def _client(data: object, where: str) -> ServiceClient:
    row = _object(data, where)
    return ServiceClient(
        _text(row.get("issuer"), f"{where}.issuer"),
        _text(row.get("client_id"), f"{where}.client_id"),
        _texts(row.get("groups"), f"{where}.groups"),
        _text(row.get("name", "unnamed"), f"{where}.name"),
    )


def _registry(rules: dict[str, object], where: str) -> tuple[RegistryEntry, ...]:
    entries: dict[str, RegistryEntry] = {}
    for value, at in _items(rules, "registry", where):
        entry = _entry(value, at)
        if entry.dn in entries:
            raise RulesError(f"{at}.dn", "is listed twice; one certificate belongs to one user")
        entries[entry.dn] = entry
    return tuple(entries.values())


def _entry(data: object, where: str) -> RegistryEntry:
    row = _object(data, where)
    dn = normalise_dn(_text(row.get("dn"), f"{where}.dn"))
    if isinstance(dn, Refused):
        raise RulesError(f"{where}.dn", f"is not a distinguished name ({dn.reason})")
    groups = tuple(_registry_group(value, at) for value, at in _items(row, "groups", where))
    return RegistryEntry(dn, _text(row.get("user"), f"{where}.user"), groups)


def _registry_group(data: object, where: str) -> RegistryGroup:
    row = _object(data, where)
    needs = None if row.get("fqan") is None else _member(row, "fqan", where)
    return RegistryGroup(_group(row, where), needs)


def _overlay_row(data: object, where: str) -> OverlayRow:
    row = _object(data, where)
    member = _member(row, "path", where)
    status = row.get("status")
    issuer, subject = row.get("issuer"), row.get("sub")
    return OverlayRow(
        path=member.path,
        role=member.role,
        status="ENABLED" if status is None else _text(status, f"{where}.status"),
        valid_until=_moment(row.get("valid_until"), f"{where}.valid_until"),
        issuer=None if issuer is None else _text(issuer, f"{where}.issuer"),
        subject=None if subject is None else _text(subject, f"{where}.sub"),
    )


def _member(row: dict[str, object], name: str, where: str) -> Membership:
    path = _texts(row.get(name), f"{where}.{name}")
    if not path:
        raise RulesError(f"{where}.{name}", "must name at least one component")
    role = row.get("role")
    return membership(path, None if role is None else _text(role, f"{where}.role"))


def _group(row: dict[str, object], where: str) -> str:
    return _text(row.get("group"), f"{where}.group")


def _moment(value: object, where: str) -> float | None:
    if not isinstance(value, str):
        return None if value is None else _number(value, where)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise RulesError(where, "must be epoch seconds or an ISO 8601 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _items(data: dict[str, object], name: str, where: str) -> list[tuple[object, str]]:
    values = _list(data.get(name, []), f"{where}.{name}")
    return [(value, f"{where}.{name}[{at}]") for at, value in enumerate(values)]


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise RulesError(where, "must be an object")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise RulesError(where, "must be an array")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise RulesError(where, "must be a text that is not empty")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(_text(item, where) for item in _list(value, where))


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise RulesError(where, "must be true or false")
    return value


def _number(value: object, where: str) -> float:
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if isinstance(value, bool) or not finite:
        raise RulesError(where, "must be a number of seconds")
    return cast(float, value)
