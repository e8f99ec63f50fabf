"""What a DIRAC `Registry` section says, as values: virtual organisations, groups, users, hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# DIRAC writes a person who has no certificate as this DN followed by the provider's subject
DIRAC_DN = "/O=DIRAC/CN="


class RegistryError(ValueError):
    """A value that cannot be meant: its `path` in the configuration, and what is wrong with it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something in the section that Gatehouse does not act on, and why, in one sentence."""

    path: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoData:
    """A virtual organisation; `idp` are names of identity providers, `voms_name` its name in VOMS."""

    name: str
    admin: str = ""
    admin_group: str = ""
    idp: tuple[str, ...] = ()
    voms_name: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupData:
    """A group; `voms_role` is a FQAN, `idp_roles` say which memberships at a provider mean this group."""

    name: str
    users: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    vo: str = ""
    voms_role: str = ""
    voms_vo: str = ""
    idp_roles: tuple[str, ...] = ()
    job_share: float = 1000.0
    auto_upload_proxy: bool = False
    auto_upload_pilot_proxy: bool = False
    auto_add_voms: bool = False
    downloadable_proxy: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """A person: normalised certificate DNs, ids at providers, VOs in which the person is suspended."""

    name: str
    dns: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    email: str = ""
    suspended: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostData:
    """A service host: normalised certificate DNs and the rights they carry."""

    name: str
    dns: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegistryData:
    """The whole section, by name, and what of it was not used."""

    vos: Mapping[str, VoData]
    groups: Mapping[str, GroupData]
    users: Mapping[str, UserData]
    hosts: Mapping[str, HostData]
    ignored: tuple[Ignored, ...]
