"""Which membership at an identity provider means a DIRAC group: `IdPRole` when it is set, else `VOMSRole`."""

from collections.abc import Sequence

from gatehouse.registry.diracdata import GroupData, VoData
from gatehouse.registry.distinguished import parse_fqan
from gatehouse.registry.entitlements import (
    Capability,
    Membership,
    Profile,
    Refused,
    parse_entitlement,
    parse_wlcg_group,
)
from gatehouse.registry.rules import Kind

_ENTITLEMENT_SCOPES = ("eduperson_entitlement?value=", "entitlements?value=", "eduperson_entitlement_jwt:")
_WLCG_SCOPE = "wlcg.groups:"


def mapping_rows(
    group: GroupData, vo: VoData | None, provider_kind: Kind, *, namespaces: Sequence[str] = ()
) -> list[tuple[tuple[str, ...], str | None]]:
    """The (path, role) pairs that mean this group at a provider of that kind; usually one, may be none.

    `namespaces` are the provider's; without them the namespace of an `IdPRole` ends at its first `:group:`.
    A `VOMSRole` of another VO than the group's own gives nothing: a VO opens only its own groups.
    """
    if group.idp_roles and provider_kind != "registry":
        found = [idp_role(value, namespaces) for value in group.idp_roles if _is_for(value, provider_kind)]
        members = [member for member in found if isinstance(member, Membership)]
    else:
        members = _from_voms(group, vo, provider_kind)
    return list(dict.fromkeys((member.path, member.role) for member in members))


def voms_names(group: GroupData, vo: VoData) -> frozenset[str]:
    """The names under which VOMS and identity providers may know the group's VO."""
    return frozenset({vo.name, vo.voms_name, group.voms_vo} - {""})


def idp_role(value: str, namespaces: Sequence[str] = ()) -> Membership | Refused | None:
    """The membership one word of `IdPRole` asks for; None when it asks for something else."""
    if value.startswith(_WLCG_SCOPE):
        path = value.removeprefix(_WLCG_SCOPE)
        return parse_wlcg_group(path, path.split("/")[1:2])
    urn = _urn(value)
    if urn is None or ":group:" not in urn:
        return None
    allowed = tuple(namespaces) or (urn.partition(":group:")[0],)
    found = parse_entitlement(urn, Profile(allowed, authorities=None, authority_optional=True))
    return None if isinstance(found, Capability) else found


def _urn(value: str) -> str | None:
    for scope in _ENTITLEMENT_SCOPES:
        value = value.removeprefix(scope)
    return value if value.startswith("urn:") else None


def _is_for(value: str, kind: Kind) -> bool:
    # A path of one kind of provider must not match a look-alike of the other.
    return value.startswith(_WLCG_SCOPE) == (kind in ("wlcg", "slashless"))


def _from_voms(group: GroupData, vo: VoData | None, kind: Kind) -> list[Membership]:
    found = parse_fqan(group.voms_role) if group.voms_role else None
    if not isinstance(found, Membership) or (vo is not None and found.path[0] not in voms_names(group, vo)):
        return []
    if kind in ("wlcg", "slashless") and found.role is not None:
        return [Membership((*found.path, found.role))]  # such providers write a role as the last group
    return [found]
