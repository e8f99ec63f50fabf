"""What the tests of the commands share."""

from collections.abc import Iterator

import pytest

from tests.cli.gate import Gate, serve


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A small Gatehouse on a free port."""
    with serve() as running:
        yield running
