"""The road on the databases of many replicas: the same service process, PostgreSQL or MariaDB behind it."""

from pathlib import Path

import pytest

from tests.conftest import scratch
from tests.road.walkers import Person
from tests.service import Service


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_road_on_a_database_server(kind: str, tmp_path: Path) -> None:
    with (
        scratch(kind, tmp_path) as url,
        Service(tmp_path, environ={"GATEHOUSE_DATABASE_URL": url}) as service,
    ):
        alice = Person("alice", tmp_path, service.issuer)
        assert alice.log_in().summary is not None
        done, killed = alice.submit("/bin/echo", "Hello world"), alice.submit("/bin/sleep", "120")
        assert alice.wait_for(done, "Done", "Failed") == "Done"
        alice.wait_for(killed, "Running")
        alice.say("dkill", str(killed))
        assert alice.status(killed) == "Killed"
        alice.say("doutput", str(done))
        assert (alice.folder / str(done) / "std.out").read_text() == "Hello world\n"
        service.kill()
        service.start()
        assert alice.status(done) == "Done"
        assert alice.log_in("training_pilot").summary is not None
