"""The DIRAC properties: exact names, each explained, found in any case."""

from gatehouse.registry.properties import PROPERTIES, find


def test_names_are_diracs_own() -> None:
    names = """TrustedHost NormalUser CSAdministrator JobSharing ServiceAdministrator JobAdministrator JobMonitor
    AccountingMonitor Pilot GenericPilot SiteManager UserManager Operator FullDelegation LimitedDelegation
    PrivateLimitedDelegation ProxyManagement ProductionManagement ProductionSharing ProductionUser PPGAuthority
    BookkeepingManagement AlarmsManagement FileCatalogManagement StageAllowed VmRpcOperation"""
    assert sorted(PROPERTIES) == sorted(names.split())


def test_each_has_one_sentence_of_its_own() -> None:
    sentences = [known.sentence for known in PROPERTIES.values()]
    assert len(set(sentences)) == len(sentences)
    assert all(text[0].isupper() and text.endswith(".") and text.count(".") == 1 for text in sentences)


def test_found_in_any_case_and_nothing_like_it() -> None:
    assert find(" genericPILOT ") is PROPERTIES["GenericPilot"]
    assert find("GenericPilots") is None
    assert find("") is None
