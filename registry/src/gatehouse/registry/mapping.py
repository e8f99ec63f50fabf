"""The mapping engine: from what an identity provider says to the groups of this site, each with its reason.

Rules R06-R18 as pure functions; `map_claims` is the door. The same values always give the same outcome.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gatehouse.registry.claims import Subject, judge
from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.documents import Certificate, Documents, Evidence, Flow
from gatehouse.registry.entitlements import Capability, Membership, Refused
from gatehouse.registry.outcome import Grant, Identity, Outcome, Silent, reject
from gatehouse.registry.reading import WLCG_GROUPS, Reading, read_fqans, read_values, without_dropped
from gatehouse.registry.rules import Issuer, OverlayRow, RegistryEntry, RegistryGroup, Rules


def map_claims(
    rules: Rules,
    documents: Documents,
    *,
    flow: Flow,
    now: float,
    previous_groups: Sequence[str] | None = None,
    overlay: Iterable[OverlayRow] = (),
) -> Outcome:
    """Which groups and capabilities these documents give. `now`: epoch seconds. Never raises on any claims.

    `previous_groups` are those of the last login: what is gone from them must be ended (R16). A rejected
    request says nothing about memberships, so it revokes nothing.
    """
    rows = tuple(overlay)
    if flow == "login" and documents.x509 is not None and documents.id_token is None:
        outcome = _from_certificate(rules, documents.x509, rows, now)
    else:
        subject = judge(rules, documents, flow, now)
        if isinstance(subject, str):
            return reject(subject)
        if subject.service:
            outcome = _from_service(rules, subject)
        else:
            outcome = _from_claims(rules, documents, subject, flow, rows, now)
    if outcome.decision == "reject" or previous_groups is None:
        return outcome
    gone = tuple(group for group in dict.fromkeys(previous_groups) if group not in outcome.groups)
    return replace(outcome, revoked_groups=gone)


def _from_claims(
    rules: Rules,
    documents: Documents,
    subject: Subject,
    flow: Flow,
    overlay: tuple[OverlayRow, ...],
    now: float,
) -> Outcome:
    identity = Identity(subject.issuer.url, subject.sub)
    reading = without_dropped(overlay, identity, now, read_values(subject.issuer, documents))
    grants, unmapped = _grants(rules, subject.issuer, reading.members)
    silent = list(reading.silent) + _without_row(reading, unmapped)
    if flow == "bearer" and subject.capabilities:
        silent += [
            Silent(evidence, "capabilities_first", grant.membership)
            for grant in grants
            for evidence in grant.evidence
        ]
        grants = []
    return _accept(identity, reading, grants, unmapped, silent, subject.capabilities)


def _from_service(rules: Rules, subject: Subject) -> Outcome:
    # R14: what the token says about memberships is not even read.
    identity = Identity(subject.issuer.url, subject.sub, kind="service")
    evidence = (Evidence("access_token", "client_id", subject.client_id),)
    grants = [
        Grant(group, evidence, row)
        for row in rules.clients(subject.issuer.url, subject.client_id)
        for group in row.groups
    ]
    return _accept(identity, Reading({}, (), (), ()), grants, [], [], subject.capabilities)


def _from_certificate(
    rules: Rules, certificate: Certificate, overlay: tuple[OverlayRow, ...], now: float
) -> Outcome:
    """R18: the groups the Registry lists for this subject, as far as its FQANs allow them."""
    issuer = rules.registry_issuer()
    if issuer is None:
        return reject("issuer_unknown")
    if not isinstance(certificate.subject_dn, str):
        return reject("dn_syntax")
    dn = normalise_dn(certificate.subject_dn)
    if isinstance(dn, Refused):
        return reject(dn.reason)
    entry = rules.entry(dn)
    identity = Identity(issuer.url, dn, user=entry.user if entry else None)
    reading = without_dropped(overlay, identity, now, read_fqans(certificate))
    grants = _listed(entry, dn, reading.members) if entry else []
    used = {grant.membership for grant in grants}
    unmapped = [member for member in reading.members if member not in used]
    silent = list(reading.silent) + _without_row(reading, unmapped)
    return _accept(identity, reading, grants, unmapped, silent, ())


def _listed(entry: RegistryEntry, dn: str, members: dict[Membership, list[Evidence]]) -> list[Grant]:
    def grant(row: RegistryGroup) -> Grant:
        if row.needs is None:
            return Grant(row.group, (Evidence("x509", "subject_dn", dn),), row)
        return Grant(row.group, tuple(members[row.needs]), row, row.needs)

    return [grant(row) for row in entry.groups if row.needs is None or row.needs in members]


def _grants(
    rules: Rules, issuer: Issuer, members: dict[Membership, list[Evidence]]
) -> tuple[list[Grant], list[Membership]]:
    """R10, R11: exact rows only; `wlcg.groups` in claim order and before all others, those in table order."""
    found: list[tuple[tuple[int, int, int], Grant]] = []
    unmapped: list[Membership] = []
    for at, (member, evidence) in enumerate(members.items()):
        rows = rules.rows(issuer.url, member)
        if not rows:
            unmapped.append(member)
        ordered = evidence[0].claim == WLCG_GROUPS
        for number, row in rows:
            place = (0, at, number) if ordered else (1, number, 0)
            found.append((place, Grant(row.group, tuple(evidence), row, member)))
    return [grant for _, grant in sorted(found, key=lambda item: item[0])], unmapped


def _without_row(reading: Reading, unmapped: list[Membership]) -> list[Silent]:
    return [Silent(evidence, "no_row", member) for member in unmapped for evidence in reading.members[member]]


def _accept(
    identity: Identity,
    reading: Reading,
    grants: list[Grant],
    unmapped: list[Membership],
    silent: list[Silent],
    scopes: tuple[Capability, ...],
) -> Outcome:
    # R13, R14: of a service's groups none is taken away, but its scopes come first all the same.
    scopes_decide = scopes and (identity.kind == "service" or not grants)
    return Outcome(
        decision="accept",
        reason=None if grants or scopes else "no_group",
        identity=identity,
        memberships=tuple(reading.members),
        groups=tuple(dict.fromkeys(grant.group for grant in grants)),
        capabilities=tuple(dict.fromkeys((*scopes, *reading.capabilities))),
        authorize_by="capabilities" if scopes_decide else "groups" if grants else "none",
        unmapped=tuple(unmapped),
        rejected=reading.refused,
        grants=tuple(grants),
        silent=tuple(silent),
    )
