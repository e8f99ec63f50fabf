"""The DIRAC Properties: the rights a group carries, exact names as DIRAC's programs and configuration use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Property:
    """One right: its exact name, what it allows in one sentence, and whether it reaches beyond the own work."""

    name: str
    sentence: str
    administrative: bool = False


_KNOWN = (
    Property("TrustedHost", "A host that may forward the identity of somebody else.", administrative=True),
    Property("NormalUser", "May submit jobs and look after them."),
    Property("CSAdministrator", "May edit the configuration.", administrative=True),
    Property("JobSharing", "Members of the group may act on each other's jobs."),
    Property("ServiceAdministrator", "May steer the services themselves.", administrative=True),
    Property("JobAdministrator", "May act on all jobs.", administrative=True),
    Property("JobMonitor", "May see all jobs."),
    Property("AccountingMonitor", "May see the accounting of everybody."),
    Property("Pilot", "A private pilot: takes only jobs of its own owner."),
    Property("GenericPilot", "A pilot that may take any job of its virtual organisation."),
    Property("SiteManager", "May ban and allow sites.", administrative=True),
    Property("UserManager", "May register users and change their groups.", administrative=True),
    Property("Operator", "May watch over the running of the system.", administrative=True),
    Property("FullDelegation", "May fetch full credentials of anybody.", administrative=True),
    Property("LimitedDelegation", "May fetch limited credentials of anybody."),
    Property("PrivateLimitedDelegation", "May fetch limited credentials of the own identity only."),
    Property("ProxyManagement", "May look after the stored proxies.", administrative=True),
    Property("ProductionManagement", "May manage productions."),
    Property("ProductionSharing", "Members of the group may act on each other's productions."),
    Property("ProductionUser", "May create own productions."),
    Property("PPGAuthority", "May approve production requests for the physics planning group."),
    Property("BookkeepingManagement", "May manage the bookkeeping of data."),
    Property("AlarmsManagement", "May set and acknowledge alarms."),
    Property("FileCatalogManagement", "May manage the file catalogue."),
    Property("StageAllowed", "May bring files from tape to disk."),
    Property("VmRpcOperation", "A virtual machine that may report to the services."),
)

PROPERTIES: Mapping[str, Property] = MappingProxyType({known.name: known for known in _KNOWN})

_BY_LOWER = {known.name.lower(): known for known in _KNOWN}


def find(name: str) -> Property | None:
    """The property of that name in any spelling of upper and lower case; None when DIRAC has none such."""
    return _BY_LOWER.get(name.strip().lower())
