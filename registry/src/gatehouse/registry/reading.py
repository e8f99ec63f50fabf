"""What the values of one login say: memberships, capabilities, refusals, and what the overlay takes away."""

import json
from dataclasses import dataclass

from gatehouse.registry.distinguished import parse_fqan
from gatehouse.registry.documents import Certificate, Documents, Evidence
from gatehouse.registry.entitlements import (
    MAX_BYTES,
    MAX_VALUES,
    Capability,
    Membership,
    Refused,
    parse_entitlement,
    parse_slashless_group,
    parse_wlcg_group,
)
from gatehouse.registry.outcome import Dropped, Identity, Silent
from gatehouse.registry.rules import Issuer, OverlayRow

WLCG_GROUPS = "wlcg.groups"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the values of one login said: memberships with their evidence, capabilities, refusals."""

    members: dict[Membership, list[Evidence]]
    capabilities: tuple[Capability, ...]
    refused: tuple[Refused | Dropped, ...]
    silent: tuple[Silent, ...]


def read_values(issuer: Issuer, documents: Documents) -> Reading:
    """R04-R09: every value of the group claims that count, sorted by what it says."""
    return _sort(
        [(evidence, _parse(issuer, evidence, reason)) for evidence, reason in _values(issuer, documents)]
    )


def read_fqans(certificate: Certificate) -> Reading:
    """R18: the FQANs of a certificate's VOMS extension."""
    fqans = _bounded("x509", [("voms_fqans", fqan) for fqan in certificate.voms_fqans])
    return _sort(
        [
            (evidence, Refused(evidence.value, reason) if reason else parse_fqan(evidence.value))
            for evidence, reason in fqans
        ]
    )


def _values(issuer: Issuer, documents: Documents) -> list[tuple[Evidence, str]]:
    # R04: one document, the first that has any group claim. R05: in it, one entry of alternatives.
    for document, claims in documents.present():
        for names in issuer.claims:
            found = [name for name in names if name in claims]
            if found:
                return _bounded(document, [(name, value) for name in found for value in _each(claims[name])])
    return []


def _bounded(document: str, values: list[tuple[str, object]]) -> list[tuple[Evidence, str]]:
    """Each value once, first appearance kept, with a reason code when it is not to be read."""
    seen: dict[tuple[str, str], Evidence] = {}
    for claim, value in values[:MAX_VALUES]:
        reason = "" if isinstance(value, str) else "not_a_string"
        text = value if isinstance(value, str) else json.dumps(value, default=str)[:MAX_BYTES]
        seen.setdefault((text, reason), Evidence(document, claim, text))
    if len(values) > MAX_VALUES:
        claim, value = values[MAX_VALUES]
        text = value if isinstance(value, str) else ""
        seen[text[:MAX_BYTES], "too_many_values"] = Evidence(document, claim, text[:MAX_BYTES])
    return [(evidence, reason) for (_, reason), evidence in seen.items()]


def _each(claim: object) -> list[object]:
    return claim if isinstance(claim, list) else [claim]


def _parse(issuer: Issuer, evidence: Evidence, reason: str) -> Membership | Capability | Refused:
    if reason:
        return Refused(evidence.value, reason)
    if issuer.kind == "aarc":
        return parse_entitlement(evidence.value, issuer.profile)
    if issuer.kind == "wlcg" or evidence.claim == WLCG_GROUPS:
        return parse_wlcg_group(evidence.value, issuer.vos)
    return parse_slashless_group(evidence.value, issuer.vos)


def _sort(parsed: list[tuple[Evidence, Membership | Capability | Refused]]) -> Reading:
    members: dict[Membership, list[Evidence]] = {}
    capabilities: dict[Capability, None] = {}
    refused: list[Refused] = []
    silent: list[Silent] = []
    for evidence, said in parsed:
        if isinstance(said, Membership):
            members.setdefault(said, []).append(evidence)
        elif isinstance(said, Capability):
            capabilities[said] = None
        else:
            refused.append(said)
            silent.append(Silent(evidence, said.reason))
    return Reading(members, tuple(capabilities), tuple(refused), tuple(silent))


def without_dropped(
    overlay: tuple[OverlayRow, ...], identity: Identity, now: float, reading: Reading
) -> Reading:
    """R15: local knowledge removes memberships; it never adds one."""
    members: dict[Membership, list[Evidence]] = {}
    dropped: list[Dropped] = []
    silent = list(reading.silent)
    for member, evidence in reading.members.items():
        rows = (row for row in overlay if row.covers(identity.issuer, identity.subject, member))
        reason = next(filter(None, (row.reason(now) for row in rows)), None)
        if reason is None:
            members[member] = evidence
        else:
            dropped.append(Dropped(member, reason))
            silent += [Silent(item, reason, member) for item in evidence]
    return Reading(members, reading.capabilities, (*reading.refused, *dropped), tuple(silent))
