"""`dirac-login --browser`: the code flow with a browser on the same machine, as a process and as a function."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.cli import codeflow, oauth
from gatehouse.cli.errors import ApiError, CommandError, UsageError
from gatehouse.cli.signin import Login, login
from gatehouse.cli.wire import Wire
from tests.auth.kit import query
from tests.cli import visitor
from tests.cli.gate import Gate, command, environment

Visit = Callable[[str], None]


def follow(link: str) -> None:
    """What a browser does with a link that leads straight back."""
    visitor.walk(link, "-")


def sign_in(gate: Gate, home: Path, *, visit: Visit = follow, **more: Any) -> Login:
    env = {"BEARER_TOKEN_FILE": str(home / "bt")}
    return login(gate.issuer, group="training_user", visit=visit, env=env, **more)


def refused(gate: Gate, home: Path, **more: Any) -> CommandError:
    """The refusal of a login that must leave nothing behind."""
    with pytest.raises(CommandError) as caught:
        sign_in(gate, home, **more)
    assert not (home / "bt").exists()
    return caught.value


def late(gate: Gate, visit: Visit) -> CommandError:
    """The refusal of a login for which there is little time."""
    with Wire(gate.issuer) as wire:
        endpoints = oauth.discover(wire, gate.issuer)
        with pytest.raises(CommandError) as caught:
            codeflow.log_in(wire, endpoints, "", visit, nullcontext, patience=0.1)
    return caught.value


def test_the_whole_output(gate: Gate, tmp_path: Path) -> None:
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path))
    done = command("dirac-login", "training_user", "--browser", "-I", gate.issuer, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    first, link, pending, *rest = done.stdout.splitlines()
    assert first == "Use the following link to continue, on this machine"
    assert link.startswith(f"{gate.issuer}/authorization?response_type=code&client_id=gatehouse-cli&")
    assert pending.startswith("Authorization pending..")
    assert rest[0] == f"New token is saved to {tmp_path / 'bt'}."
    assert [line.partition(":")[0].rstrip() for line in rest[1:]] == [
        "subject",
        "issuer",
        "timeleft",
        "username",
        "DIRAC group",
        "properties",
    ]
    assert json.loads((tmp_path / "bt").read_text())["access_token"] in gate.live
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("200\n")
    assert "no-store" in seen
    assert "You may close this window" in seen
    assert "code-secret" not in seen


def test_rfc7636_4_2_the_request_has_an_s256_challenge_and_a_state_of_its_own(
    gate: Gate, tmp_path: Path
) -> None:
    links: list[str] = []

    def visit(link: str) -> None:
        links.append(link)
        follow(link)

    for _ in range(2):
        sign_in(gate, tmp_path, visit=visit, scopes=("offline_access",), hours=2)
    first, second = map(query, links)
    assert first["scope"] == "offline_access g:training_user lifetime:7200"
    assert first["code_challenge_method"] == "S256"
    assert len(first["code_challenge"]) == 43
    assert len(first["state"]) == 43
    assert "nonce" not in first
    assert first["redirect_uri"].startswith("http://127.0.0.1:")
    assert first["redirect_uri"].endswith("/")
    for name in ("state", "code_challenge"):
        assert first[name] != second[name]
    redeemed = gate.of("/auth/token")[0].form
    assert redeemed.keys() == {"client_id", "grant_type", "code", "redirect_uri", "code_verifier"}
    assert (redeemed["client_id"], redeemed["grant_type"]) == ("gatehouse-cli", "authorization_code")
    assert redeemed["code_verifier"] not in links[0]


def test_rfc9207_2_4_an_answer_of_another_issuer_is_refused(gate: Gate, tmp_path: Path) -> None:
    for said, shown in (("https://evil.example.org/auth", "https://evil.example.org/auth"), ("", "missing")):
        gate.back = {"iss": said}
        error = refused(gate, tmp_path)
        assert error.what == "the answer in the browser is not from the server that was asked"
        assert error.why == f"its iss is {shown}, not {gate.issuer}"
    gate.back = {"iss": "https://evil.example.org/auth", "error": "access_denied", "code": ""}
    assert "not from the server" in refused(gate, tmp_path).what
    assert gate.of("/auth/token") == []


def test_an_error_answer_is_shown_with_its_reason(gate: Gate, tmp_path: Path) -> None:
    reason = "You said that it was not you. \x1b[2J"
    gate.back = {"code": "", "error": "access_denied", "error_description": reason}
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path))
    done = command("dirac-login", "training_user", "--browser", "-I", gate.issuer, env=env)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the login was refused\nwhy: access_denied: You said that it was not you. [2J\n"
        "next: run dirac-login again if that was a mistake\n"
    )
    assert "You may close this window" in (tmp_path / "seen").read_text()
    assert not (tmp_path / "bt").exists()


def test_an_answer_without_a_code_is_refused(gate: Gate, tmp_path: Path) -> None:
    gate.back = {"code": ""}
    assert refused(gate, tmp_path).what == "the answer in the browser holds no code"


def test_rfc6749_10_12_a_wrong_state_waits_on_and_is_told_at_the_end(gate: Gate) -> None:
    pages: list[httpx.Response] = []

    def attack(link: str) -> None:
        """A page elsewhere brings a code of its own, to log the person in as somebody else."""
        back = query(link)["redirect_uri"]
        pages.append(httpx.get(f"{back}?code=theirs&state=guess&iss={gate.issuer}", trust_env=False))

    error = late(gate, attack)
    assert pages[0].status_code == 400
    assert error.what == "the login was not confirmed in time"
    assert error.why.endswith("; 1 that came belonged to another login")
    assert gate.of("/auth/token") == []


def test_nobody_comes(gate: Gate) -> None:
    error = late(gate, lambda _link: None)
    assert error.why == "no answer came from the browser"
    assert "without --browser" in error.next_step


def test_a_code_of_another_login_is_refused_and_no_secret_is_shown(gate: Gate, tmp_path: Path) -> None:
    gate.back = {"code": "stolen"}
    error = refused(gate, tmp_path)
    assert isinstance(error, ApiError)
    assert (error.code, error.message) == ("invalid_grant", "not for <token>")


def test_openid_connect_core_3_1_3_7_the_id_token_is_of_this_login(gate: Gate, tmp_path: Path) -> None:
    sign_in(gate, tmp_path, scopes=("openid",))
    assert len(gate.asked["nonce"]) == 43
    (tmp_path / "bt").unlink()
    for wrong in ({"nonce": "another"}, {"aud": "portal"}, {"iss": "https://evil.example.org"}, {"exp": 1}):
        gate.id_claims = wrong
        error = refused(gate, tmp_path, scopes=("openid",))
        assert error.why == f"wrong or missing: {next(iter(wrong))}"


@pytest.mark.parametrize("sign", ["SSH_CONNECTION", "SSH_TTY"])
def test_no_browser_is_expected_at_the_other_end_of_a_line(gate: Gate, tmp_path: Path, sign: str) -> None:
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path), **{sign: "192.0.2.7 50000 192.0.2.8 22"})
    done = command("dirac-login", "training_user", "--browser", "-I", gate.issuer, env=env)
    assert done.returncode == 1
    assert done.stderr == (
        "error: --browser needs a browser on this machine\n"
        f"why: {sign} is set: you sit at another one, and the answer would go there\n"
        "run: dirac-login training_user without --browser, and open its link anywhere\n"
    )
    assert gate.seen == []


def test_the_other_ways_are_excluded(gate: Gate, tmp_path: Path) -> None:
    for option in ("--use-certificate", "--qr"):
        done = command("dirac-login", "--browser", option, "-I", gate.issuer, env=environment(tmp_path))
        assert done.returncode == UsageError.exit_code
        assert "--browser excludes" in done.stderr


def test_the_link_is_enough_where_no_browser_opens(gate: Gate, tmp_path: Path) -> None:
    command_line = [str(Path(sys.executable).with_name("dirac-login")), "--browser", "-I", gate.issuer]
    env = environment(tmp_path, BROWSER="true")  # which opens nothing
    with subprocess.Popen(command_line, env=env, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        link = [running.stdout.readline() for _ in range(2)][1]
        follow(link.strip())
        assert "username     : bob" in running.stdout.read()
    assert running.returncode == 0


def test_rfc6749_6_the_tokens_are_renewed_and_revoked_in_the_name_of_their_client(
    gate: Gate, tmp_path: Path
) -> None:
    gate.life = 30  # seconds: each command renews it
    sign_in(gate, tmp_path)
    gate.add_job(1)
    done = command("dstat", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert gate.of("/auth/token")[-1].form["grant_type"] == "refresh_token"
    command("dstat", env=environment(tmp_path))
    done = command("dirac-logout", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    sent = [*gate.of("/auth/token"), *gate.of("/auth/revoke")]
    assert [seen.form["client_id"] for seen in sent] == ["gatehouse-cli"] * 5


def test_a_login_by_device_revokes_what_the_browser_got_in_its_name(gate: Gate, tmp_path: Path) -> None:
    sign_in(gate, tmp_path)
    done = command("dirac-login", "-I", gate.issuer, env=environment(tmp_path))
    assert "refresh_token is revoked from" in done.stdout
    assert {seen.form["client_id"] for seen in gate.of("/auth/revoke")} == {"gatehouse-cli"}
    assert gate.of("/auth/token")[-1].form["client_id"] == "DIRAC_CLI"


@pytest.mark.parametrize("browser", [False, True])
def test_less_time_than_was_asked_for_is_said(gate: Gate, tmp_path: Path, browser: bool) -> None:
    sentence = "You asked for 360000 s; an access token lives 21600 s at most."
    gate.told = {"lifetime_notice": sentence}
    env = environment(tmp_path, BROWSER=visitor.script(tmp_path))
    arguments = ["-T", "100", "-I", gate.issuer, *(["--browser"] if browser else [])]
    done = command("dirac-login", *arguments, env=env)
    assert (done.returncode, done.stderr) == (0, f"note: {sentence}\n")
    done = command("dirac-login", "--json", *arguments, env=env)
    assert json.loads(done.stdout)["lifetime_notice"] == sentence
    asked = gate.asked if browser else gate.of("/auth/device")[-1].form
    assert asked["scope"] == "lifetime:360000"


def test_json_goes_alone_to_stdout_whatever_the_browser_writes(gate: Gate, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.write_text(f'#!/bin/sh\necho Opening in existing session.\nexec {visitor.script(tmp_path)} "$1"\n')
    noisy.chmod(0o755)
    done = command(
        "dirac-login", "--json", "--browser", "-I", gate.issuer, env=environment(tmp_path, BROWSER=str(noisy))
    )
    result = json.loads(done.stdout)
    assert result["username"] == "bob"
    assert "lifetime_notice" not in result
    assert f"{gate.issuer}/authorization?" in done.stderr
