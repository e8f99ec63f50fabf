"""A service and its own keys for the proofs of the RFCs."""

from collections.abc import Iterator

import pytest

from gatehouse.tokenmanager import keys
from tests.auth.kit import login
from tests.rfc.kit import MORE, thief
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of a module."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=MORE) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def ring(service: Service) -> Iterator[keys.KeyRing]:
    """The service's own signing keys, for forgeries that only a thief of the master key could make."""
    database, sealed = thief(service)
    try:
        yield keys.load(database, sealed)
    finally:
        database.close()


@pytest.fixture(scope="module")
def genuine(service: Service) -> str:
    """An access token that works."""
    token: str = login(service)["access_token"]
    return token
