"""One service for each module."""

from collections.abc import Iterator

import pytest

from tests.interop.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The service, running; afterwards its log holds no traceback."""
    with House(tmp_path_factory.mktemp("interop")) as running:
        assert isinstance(running, House)
        yield running
        assert "Traceback" not in running.log.read_text()
