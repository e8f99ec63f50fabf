"""Reading the `Registry` section of a DIRAC configuration: virtual organisations, groups, users, hosts.

Options that Gatehouse has no use for are kept and listed with a sentence why; values that cannot be meant
are an error that names the path.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gatehouse.registry import properties
from gatehouse.registry.cfg import Section
from gatehouse.registry.diracdata import (
    DIRAC_DN,
    GroupData,
    HostData,
    Ignored,
    RegistryData,
    RegistryError,
    UserData,
    VoData,
)
from gatehouse.registry.diracoptions import Options
from gatehouse.registry.diracrows import idp_role, mapping_rows, voms_names
from gatehouse.registry.distinguished import parse_fqan
from gatehouse.registry.entitlements import Refused

__all__ = [
    "GroupData",
    "HostData",
    "Ignored",
    "RegistryData",
    "RegistryError",
    "UserData",
    "VoData",
    "mapping_rows",
    "read",
]


def read(registry: Section, path: str = "/Registry") -> RegistryData:
    """Read a `Registry` section; `path` is where it stands, for messages. Raises `RegistryError`."""
    ignored: list[Ignored] = []
    top = Options(registry, path, ignored)
    data = RegistryData(
        vos={name: _vo(name, options) for name, options in top.below("VO")},
        groups={name: _group(name, options) for name, options in top.below("Groups")},
        users={name: _user(name, options) for name, options in top.below("Users")},
        hosts={name: _host(name, options) for name, options in top.below("Hosts")},
        ignored=(),
    )
    top.rest()
    _one_owner(data.users, f"{path}/Users")
    return replace(data, ignored=(*ignored, *_loose_ends(data, path)))


def _vo(name: str, options: Options) -> VoData:
    return VoData(
        name=name,
        admin=options.text("VOAdmin"),
        admin_group=options.text("VOAdminGroup"),
        idp=options.words("IdProvider"),
        voms_name=options.text("VOMSName") or name,
        options=options.rest(),
    )


def _group(name: str, options: Options) -> GroupData:
    return GroupData(
        name=name,
        users=options.words("Users"),
        properties=_spelled(options.words("Properties")),
        vo=options.text("VO"),
        voms_role=_voms_role(options),
        voms_vo=options.text("VOMSVO"),
        idp_roles=_idp_roles(options),
        job_share=options.number("JobShare", 1000.0),
        auto_upload_proxy=options.flag("AutoUploadProxy"),
        auto_upload_pilot_proxy=options.flag("AutoUploadPilotProxy"),
        auto_add_voms=options.flag("AutoAddVOMS"),
        downloadable_proxy=options.flag("DownloadableProxy", default=True),
        options=options.rest(),
    )


def _user(name: str, options: Options) -> UserData:
    return UserData(
        name=name,
        dns=options.dns("DN"),
        ids=options.words("ID"),
        email=options.text("Email"),
        suspended=options.words("Suspended"),
        options=options.rest(),
    )


def _host(name: str, options: Options) -> HostData:
    return HostData(
        name=name,
        dns=options.dns("DN"),
        properties=_spelled(options.words("Properties")),
        options=options.rest(),
    )


def _spelled(names: tuple[str, ...]) -> tuple[str, ...]:
    # DIRAC compares properties without regard to case; we keep one spelling. Unknown ones stay as they are.
    return tuple(dict.fromkeys(known.name if (known := properties.find(name)) else name for name in names))


def _voms_role(options: Options) -> str:
    value = options.text("VOMSRole")
    found = parse_fqan(value) if value else None
    if isinstance(found, Refused):
        raise RegistryError(options.at("VOMSRole"), f"'{value}' is not a FQAN like /vo/Role=pilot")
    return value


def _idp_roles(options: Options) -> tuple[str, ...]:
    values = tuple(options.text("IdPRole").split())
    for value in values:
        found = idp_role(value)
        if isinstance(found, Refused):
            raise RegistryError(options.at("IdPRole"), f"'{value}' cannot be read ({found.reason})")
    return values


def _one_owner(users: Mapping[str, UserData], path: str) -> None:
    owners: dict[str, str] = {}
    for user in users.values():
        for dn in (*user.dns, *(DIRAC_DN + one for one in user.ids)):
            if owners.setdefault(dn, user.name) != user.name:
                raise RegistryError(f"{path}/{user.name}/DN", f"'{dn}' belongs to {owners[dn]} already")


def _loose_ends(data: RegistryData, path: str) -> Iterator[Ignored]:
    """What is well written but leads nowhere."""
    for group in data.groups.values():
        here = f"{path}/Groups/{group.name}"
        for name in (name for name in group.users if name not in data.users):
            yield Ignored(f"{here}/Users", f"'{name}' is not in {path}/Users, so nobody is added.")
        for name in (name for name in group.properties if properties.find(name) is None):
            yield Ignored(
                f"{here}/Properties", f"'{name}' is no known property; it is kept and opens nothing."
            )
        if group.vo and group.vo not in data.vos:
            yield Ignored(f"{here}/VO", f"'{group.vo}' is not in {path}/VO, so no provider is bound to it.")
        for value in (value for value in group.idp_roles if idp_role(value) is None):
            yield Ignored(f"{here}/IdPRole", f"'{value}' names no membership, so no claim can match it.")
        vo = data.vos.get(group.vo)
        if vo and group.voms_role and group.voms_role.split("/")[1] not in voms_names(group, vo):
            yield Ignored(
                f"{here}/VOMSRole", f"'{group.voms_role}' is not of VO {vo.name}, so it opens nothing."
            )
