"""The communities in memory: what each provider's claims are worth here, as the Registry's groups say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from sqlalchemy import select

from gatehouse.registry.database import Tx, sql, table
from gatehouse.registry.diracdata import GroupData, VoData
from gatehouse.registry.diracrows import mapping_rows
from gatehouse.registry.documents import Documents
from gatehouse.registry.entitlements import Membership
from gatehouse.registry.mapping import map_claims
from gatehouse.registry.models import Group, Vo
from gatehouse.registry.outcome import Grant, Outcome
from gatehouse.registry.reasons import sentence
from gatehouse.registry.rules import Issuer, Row, Rules
from gatehouse.registry.settings import ProviderSettings


class _GroupRow(NamedTuple):
    name: str
    vo: str
    options: str


class _VoRow(NamedTuple):
    name: str
    options: str


_G, _V = table(Group).c, table(Vo).c
_GROUPS = sql(select(_G.name, _G.vo, _G.options).order_by(_G.name), _GroupRow)
_VOS = sql(select(_V.name, _V.options).order_by(_V.name), _VoRow)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a login's claims came to: groups with reasons, or the reason why the whole login is refused."""

    groups: tuple[tuple[str, str], ...]
    nothing: tuple[str, ...]
    refusal: str = ""


@dataclass
class Communities:
    """The rules that follow from the providers of the settings and the groups of the database."""

    providers: Sequence[ProviderSettings]
    _rules: Rules = field(default_factory=lambda: Rules(issuers={}))
    _trusted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _accepted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _raw: object = None

    def load(self, tx: Tx) -> Callable[[], None]:
        """Read groups and VOs; the returned function puts the rules in place (on the event loop)."""
        raw = (tx.all(_GROUPS), tx.all(_VOS))

        def apply() -> None:
            if raw != self._raw:
                self._raw = raw
                self._build(*raw)

        return apply

    def trusted(self, provider: str) -> tuple[str, ...]:
        """The groups whose VO accepts this provider."""
        return self._trusted.get(provider, ())

    def accepted(self, group: str) -> tuple[str, ...]:
        """The names of the providers that the VO of a group accepts."""
        return self._accepted.get(group, ())

    def map_login(self, provider: ProviderSettings, documents: Documents, now: int) -> Mapped:
        """The groups that a provider's documents give, each with the claim and the rule that gave it."""
        outcome = map_claims(self._rules, documents, flow="login", now=now)
        if outcome.decision == "reject":
            return Mapped((), (), sentence(outcome.reason or "issuer_unknown"))
        groups = tuple((grant.group, _because(grant, provider)) for grant in outcome.grants)
        return Mapped(groups, tuple(_for_nothing(outcome)))

    def _build(self, groups: Sequence[_GroupRow], vos: Sequence[_VoRow]) -> None:
        known = {row.name: msgspec.json.decode(row.options, type=VoData) for row in vos}
        data = [msgspec.json.decode(row.options, type=GroupData) for row in groups]
        self._accepted = {one.name: known[one.vo].idp if one.vo in known else () for one in data}
        self._trusted = {
            one.name: tuple(name for name, accepted in self._accepted.items() if one.name in accepted)
            for one in self.providers
        }
        self._rules = Rules(
            issuers={one.issuer: _issuer(one) for one in self.providers},
            table=tuple(
                Row(one.issuer, Membership(path, role), group.name)
                for one in self.providers
                for group in data
                if one.name in self._accepted[group.name]
                for path, role in mapping_rows(
                    group, known.get(group.vo), one.kind, namespaces=one.namespaces
                )
            ),
        )


def _issuer(given: ProviderSettings) -> Issuer:
    return Issuer(
        url=given.issuer,
        kind=given.kind,
        client_id=given.client_id,
        namespaces=given.namespaces,
        authorities=given.authorities,
        authority_optional=given.authority_optional,
        vos=given.vos,
        group_claims=given.group_claims or None,
    )


def _because(grant: Grant, provider: ProviderSettings) -> str:
    said = ", ".join(f"{item.claim} says {item.value}" for item in grant.evidence[:3])
    return f"{provider.title or provider.name}: {said}"


def _for_nothing(outcome: Outcome) -> list[str]:
    return [f"{item.evidence.value[:200]}: {sentence(item.reason)}" for item in outcome.silent[:50]]
