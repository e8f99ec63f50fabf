"""One section of the Registry while it is read: typed options, and an account of those nobody asked for."""

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gatehouse.registry.cfg import Section, split_list
from gatehouse.registry.diracdata import Ignored, RegistryError
from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.entitlements import Refused

_YES = frozenset({"y", "yes", "true", "1"})
_NO = frozenset({"n", "no", "false", "0", ""})
_DN_BORDER = re.compile(r",\s*(?=/)")  # a comma inside a name is not followed by a slash

_AT_LOGIN = "The group is chosen at login."
_PROXY_TIMES = "Lifetimes of proxies are settings of Gatehouse itself."
_NO_SYNC = "Gatehouse follows what the identity provider says at each login and copies nothing from VOMS."
_WHY: Mapping[str, str] = MappingProxyType(
    {
        "DefaultGroup": _AT_LOGIN,
        "QuarantineGroup": "Somebody without a group gets no token with a group.",
        **dict.fromkeys(("DefaultProxyTime", "DefaultProxyLifeTime", "MinProxyLifeTime"), _PROXY_TIMES),
        **dict.fromkeys(("ProxyCheckingPeriod", "SafeCertificateLifeTime"), _PROXY_TIMES),
        **dict.fromkeys(("DefaultVOMSAttribute", "DefaultVOMSVO"), "Every group names its own VOMS role."),
        "BannedIPs": "Addresses are banned in front of Gatehouse.",
        "PUSPServiceURL": "Per-user sub-proxies are not supported.",
        **dict.fromkeys(("AutoAddUsers", "AutoModifyUsers", "AutoDeleteUsers", "AutoSyncVOMS"), _NO_SYNC),
        **dict.fromkeys(("AutoLiftSuspendedStatus", "SyncPluginName", "VOMSServers"), _NO_SYNC),
        **dict.fromkeys(("CompareWithIAM", "UseIAM"), _NO_SYNC),
        "CA": "The authority of a certificate is checked when the certificate is presented.",
        **dict.fromkeys(("mobile", "Quota", "Host"), "It has no bearing on what anybody may do."),
        "DNProperties": "Proxy providers of single names are not supported.",
        "AllowBackgroundTQs": "The matcher has no background queues.",
    }
)
_UNKNOWN = "Gatehouse knows no such option; it is kept as it is."


class Options:
    """Reads options of one section and remembers which; `rest` accounts for the others."""

    def __init__(self, section: Section, path: str, ignored: list[Ignored]) -> None:
        self._section = section
        self._path = path
        self._ignored = ignored
        self._used: set[str] = set()

    def at(self, name: str) -> str:
        """The path of an option, for messages."""
        return f"{self._path}/{name}"

    def text(self, name: str) -> str:
        """An option as text, empty when it is not there."""
        if name in self._section.options:
            self._used.add(name)
        return self._section.get_own(name)

    def words(self, name: str) -> tuple[str, ...]:
        """A comma-separated list, duplicates dropped."""
        return tuple(dict.fromkeys(split_list(self.text(name))))

    def flag(self, name: str, default: bool = False) -> bool:
        """Yes or no; anything else is an error, since DIRAC would silently take it for no."""
        value = self.text(name).lower()
        if value not in _YES | _NO:
            raise RegistryError(self.at(name), f"'{value}' is neither yes nor no")
        return value in _YES if value else default

    def number(self, name: str, default: float) -> float:
        """A number that is not negative."""
        value = self.text(name)
        try:
            number = float(value) if value else default
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise RegistryError(self.at(name), f"'{value}' is not a number from 0 upwards")
        return number

    def dns(self, name: str) -> tuple[str, ...]:
        """Distinguished names in normalised slash form; a comma may be part of a name."""
        found = []
        for value in filter(None, map(str.strip, _DN_BORDER.split(self.text(name)))):
            dn = normalise_dn(value)
            if isinstance(dn, Refused):
                raise RegistryError(self.at(name), f"'{value}' is not a distinguished name ({dn.reason})")
            found.append(dn)
        return tuple(dict.fromkeys(found))

    def below(self, name: str) -> Iterator[tuple[str, "Options"]]:
        """The sections below a section; options standing between them are accounted as ignored."""
        section = self._section.sections.get(name)
        if section is None:
            return
        self._used.add(name)
        within = Options(section, self.at(name), self._ignored)
        for child, content in section.sections.items():
            within._used.add(child)
            yield child, Options(content, within.at(child), self._ignored)
        within.rest()

    def rest(self) -> Mapping[str, str]:
        """The options nobody asked for, verbatim; they and unread sections are listed as ignored."""
        unread = [name for name in self._section.entries if name not in self._used]
        self._ignored += [Ignored(self.at(name), _WHY.get(name, _UNKNOWN)) for name in unread]
        options = self._section.options
        return MappingProxyType({name: options[name] for name in unread if name in options})
