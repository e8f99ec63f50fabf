"""The Python API: renewal under the lock, errors, repeats, bounds."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gatehouse.cli import tokenfile
from gatehouse.cli.client import GatehouseClient
from gatehouse.cli.errors import ApiError, CommandError, NotLoggedIn, Unreachable
from gatehouse.cli.issuer import api_base
from gatehouse.cli.wire import Wire, check_url, is_loopback
from tests.cli.gate import Gate, archive, environment

ASK = "from gatehouse.cli.client import GatehouseClient; print(GatehouseClient().userinfo()['preferred_username'])"


def client(home: Path, pauses: list[float] | None = None) -> GatehouseClient:
    slept: list[float] = [] if pauses is None else pauses
    return GatehouseClient(home / "bt", sleep=slept.append)


def stored(home: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((home / "bt").read_text())
    return value


def rotations(gate: Gate) -> int:
    return len([seen for seen in gate.of("/auth/token") if seen.form["grant_type"] == "refresh_token"])


def test_a_day_in_the_life(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    with client(tmp_path) as gatehouse:
        assert gatehouse.issuer == gate.issuer
        assert gatehouse.userinfo()["group"] == "training_user"
        sandbox = gatehouse.upload_sandbox(b"archive")
        assert gate.sandboxes[sandbox] == b"archive"
        ids = gatehouse.submit([{"executable": "/bin/true", "name": str(n)} for n in range(3)])
        assert ids == [1, 2, 3]
        assert gatehouse.job(2)["name"] == "1"
        assert [job["job_id"] for job in gatehouse.jobs(ids=[1, 3])] == [1, 3]
        assert gatehouse.log(1)[0]["status"] == "Received"
        assert (gatehouse.kill(1), gatehouse.delete(1)) == ("Killed", "Deleted")
        gate.outputs[2] = archive(std_out="hello")
        assert gatehouse.output(2) == gate.outputs[2]
    assert rotations(gate) == 0


def test_a_token_about_to_end_is_renewed_first(gate: Gate, tmp_path: Path) -> None:
    old = gate.store(tmp_path / "bt", life=59)
    with client(tmp_path) as gatehouse:
        gatehouse.jobs()
        gatehouse.jobs()
    assert rotations(gate) == 1
    assert old["access_token"] not in [seen.bearer for seen in gate.of("/api/jobs")]
    assert stored(tmp_path)["access_token"] in gate.live
    assert stored(tmp_path)["refresh_token"] in gate.refreshable
    (refresh,) = gate.of("/auth/token")
    assert refresh.form == {
        "client_id": "DIRAC_CLI",
        "grant_type": "refresh_token",
        "refresh_token": old["refresh_token"],
    }


def test_a_refused_token_is_renewed_once(gate: Gate, tmp_path: Path) -> None:
    gate.live.discard(gate.store(tmp_path / "bt")["access_token"])
    with client(tmp_path) as gatehouse:
        assert gatehouse.jobs() == []
        assert len(gate.of("/api/jobs")) == 2
        gate.live.clear()
        gate.refreshable.clear()
        with pytest.raises(NotLoggedIn) as ended:
            gatehouse.jobs()
    assert "refresh-" not in ended.value.why
    assert ended.value.next_step == f"run: dirac-login <group> --issuer {gate.issuer}"


def test_two_processes_at_once_rotate_once(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt", life=30)
    env = environment(tmp_path)
    # Both find the token about to end while the lock is held; let go, only one may rotate it.
    with tokenfile.locked(tmp_path / "bt"):
        both = [
            subprocess.Popen([sys.executable, "-c", ASK], env=env, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in both:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.7)
        assert rotations(gate) == 0
    assert [process.communicate(timeout=30)[0] for process in both] == ["bob\n", "bob\n"]
    assert rotations(gate) == 1


def test_a_lost_answer_to_a_refresh_is_asked_for_again(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt", life=30)
    gate.metadata = {"issuer": gate.issuer, "token_endpoint": "http://127.0.0.1:9/token"}
    with client(tmp_path) as gatehouse:
        assert gatehouse.jobs() == []  # half a minute of life is left: better than a refusal
    gate.store(tmp_path / "bt", life=0)
    with client(tmp_path) as gatehouse, pytest.raises(Unreachable):
        gatehouse.jobs()


def test_a_token_of_the_environment_is_used_and_never_stored(gate: Gate, tmp_path: Path) -> None:
    access = gate.pair()["access_token"]
    with GatehouseClient(env={"BEARER_TOKEN": access, "XDG_RUNTIME_DIR": str(tmp_path)}) as gatehouse:
        assert gatehouse.jobs() == []
        gate.live.clear()
        with pytest.raises(ApiError) as refused:
            gatehouse.jobs()
    assert (refused.value.status, refused.value.code) == (401, "invalid_token")
    assert list(tmp_path.iterdir()) == []
    over = gate.pair(0)["access_token"]
    with (
        GatehouseClient(env={"BEARER_TOKEN": over}) as gatehouse,
        pytest.raises(NotLoggedIn, match="run out"),
    ):
        gatehouse.jobs()


def test_a_file_replaced_by_a_login_elsewhere_is_not_sent_to_us(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt", life=30)
    with client(tmp_path) as gatehouse:
        other = Gate(issuer="https://other.example.org/auth")
        other.store(tmp_path / "bt", life=30)
        with pytest.raises(NotLoggedIn, match="run out"):
            gatehouse.jobs()
    assert rotations(gate) == 0


def test_errors_keep_what_the_server_said(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    gate.refuse_submit = {
        "error": "insufficient_rights",
        "error_description": "your group may not submit",
        "missing": ["NormalUser"],
        "groups_with_it": ["training_user"],
    }
    with client(tmp_path) as gatehouse, pytest.raises(ApiError) as refused:
        gatehouse.submit([{"executable": "x"}])
    error = refused.value
    assert (error.status, error.code, error.message, error.hint) == (
        403,
        "insufficient_rights",
        "your group may not submit",
        "",
    )
    assert error.facts == {"missing": ["NormalUser"], "groups_with_it": ["training_user"]}
    assert error.next_step == "run: dirac-login training_user"
    assert "missing: NormalUser" in error.why


def test_only_questions_are_repeated_when_the_server_is_busy(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    pauses: list[float] = []
    with client(tmp_path, pauses) as gatehouse:
        gate.broken = [503, 502]
        assert gatehouse.jobs() == []
        assert pauses == [0.2, 1.0]
        gate.broken = [503, 503, 503]
        with pytest.raises(ApiError) as busy:
            gatehouse.jobs()
        assert busy.value.status == 503
        gate.broken = [503]
        with pytest.raises(ApiError):
            gatehouse.submit([{"executable": "x"}])
    assert gate.manifests == []
    assert gate.broken == []


def test_rfc6585_4_the_client_waits_as_told_when_it_is_not_long(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    pauses: list[float] = []
    with client(tmp_path, pauses) as gatehouse:
        gate.broken, gate.retry_after = [429, 429], 10
        assert gatehouse.jobs() == []
        assert pauses == [10, 10]
        gate.broken = [429, 429, 429]
        with pytest.raises(ApiError):
            gatehouse.jobs()
        assert pauses == [10] * 4
        gate.broken, gate.retry_after = [429], 11
        with pytest.raises(ApiError) as busy:
            gatehouse.jobs()
        assert busy.value.facts["retry_after"] == 11  # the person learns the time
        gate.broken = [429]
        with pytest.raises(ApiError):
            gatehouse.submit([{"executable": "x"}])
    assert pauses == [10] * 4
    assert gate.manifests == []


def test_a_broken_line_submits_nothing_twice(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    with client(tmp_path) as gatehouse:
        gate.drop = 2
        assert gatehouse.jobs() == []
        gate.seen.clear()
        gate.drop = 1
        with pytest.raises(Unreachable):
            gatehouse.submit([{"executable": "x"}])
    assert [seen.method for seen in gate.seen] == ["POST"]


def test_a_thousand_jobs_go_in_one_request(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    with client(tmp_path) as gatehouse:
        ids = gatehouse.submit([{"executable": "x", "name": "n"}] * 1001)
        found = gatehouse.jobs(ids=ids[:601])
    assert ids == list(range(1, 1002))
    assert len(found) == 601
    assert [len(json.loads(seen.body)["jobs"]) for seen in gate.of("/api/jobs") if seen.body] == [1000, 1]


def test_large_descriptions_go_in_smaller_requests(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    with client(tmp_path) as gatehouse:
        ids = gatehouse.submit([{"executable": "x", "name": "n", "arguments": "é" * 500_000}] * 8)
    assert ids == list(range(1, 9))
    sizes = [len(seen.body) for seen in gate.of("/api/jobs")]
    assert len(sizes) == 3
    assert max(sizes) < 4 * 1024 * 1024


def test_an_answer_without_end_is_cut(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    gate.add_job(1)
    gate.outputs[1] = bytes(12 * 1024 * 1024)
    with client(tmp_path) as gatehouse, pytest.raises(CommandError, match="too large"):
        gatehouse.output(1)


def test_nonsense_is_not_understood(gate: Gate, tmp_path: Path) -> None:
    gate.store(tmp_path / "bt")
    gate.outputs[1] = b"x"
    gate.add_job(1)
    gate.jobs[1] = ["not", "an", "object"]  # type: ignore[assignment]  # what a broken server might send
    with client(tmp_path) as gatehouse, pytest.raises(CommandError, match="not understood"):
        gatehouse.job(1)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert check_url(f"http://[{host}]/x" if ":" in host else f"http://{host}/x")


@pytest.mark.parametrize(
    "host", ["localhost.example.org", "10.0.0.1", "0.0.0.0", "example.org", "127.1.evil.org"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(CommandError):
        check_url(f"http://{host}/x")


def test_the_api_lies_beside_the_issuer() -> None:
    assert api_base("https://h.example.org/auth/") == "https://h.example.org/api"
    assert api_base("https://h.example.org/x/auth") == "https://h.example.org/x/api"
    for issuer in ("", "https://h.example.org", "https://h.example.org/auth/vo/biomed"):
        with pytest.raises(CommandError, match="not issued for the job service"):
            api_base(issuer)


def test_a_proxy_of_the_environment_never_sees_local_traffic(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Wire(gate.issuer) as wire:
        assert wire.send("GET", f"{gate.issuer}/userinfo").status == 401


def test_no_secret_in_what_errors_and_answers_print(gate: Gate, tmp_path: Path) -> None:
    pair = gate.store(tmp_path / "bt")
    with client(tmp_path) as gatehouse:
        printed = repr(gatehouse.tokens) + repr(vars(gatehouse).values())
    with Wire(gate.issuer) as wire:
        form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        printed += repr(wire.send("POST", f"{gate.issuer}/token", form=form))
    assert not re.search(r"eyJ|refresh-\d", printed)
