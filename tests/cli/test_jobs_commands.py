"""`dsub`, `dstat`, `doutput`, `dlogging` and `dkill` as processes."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gatehouse.cli.listing import COLUMNS, DEFAULT_COLUMNS
from tests.cli.gate import Gate, archive, command, environment, unpacked


@pytest.fixture
def home(gate: Gate, tmp_path: Path) -> Path:
    """A person's directory, logged in."""
    gate.store(tmp_path / "bt")
    (tmp_path / "work").mkdir()
    return tmp_path


def run(home: Path, name: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return command(name, *arguments, env=environment(home), cwd=home / "work", stdin=stdin)


def submitted(gate: Gate, home: Path, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    done = run(home, "dsub", *arguments, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    return gate.manifests[-1]


def sent(gate: Gate, job: dict[str, Any]) -> dict[str, tuple[str, int]]:
    (name,) = job["input_sandbox"]
    return unpacked(gate.sandboxes[name])


def test_an_absolute_executable(gate: Gate, home: Path) -> None:
    done = run(home, "dsub", "/bin/echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    (job,) = gate.manifests
    assert job == {
        "executable": "/bin/echo",
        "arguments": "hello",
        "name": "echo",
        "job_group": "",
        "job_type": "User",
        "cpu_time": 86400,
        "priority": 1,
        "sites": [],
        "banned_sites": [],
        "platforms": [],
        "tags": [],
        "number_of_processors": 1,
        "environment": {},
        "input_sandbox": [],
        "output_sandbox": ["std.out", "std.err"],
        "std_output": "std.out",
        "std_error": "std.err",
        "input_data": [],
        "output_data": [],
        "log_level": "INFO",
    }
    assert gate.sandboxes == {}


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["-N", "x", "--json", "-v", "--", "-J"], "-N x --json -v -- -J"),
        (["a b", "", "$HOME", "it's"], "'a b' '' '$HOME' 'it'\"'\"'s'"),
        (["--help"], "--help"),
    ],
)
def test_arguments_after_the_executable_pass_untouched(
    gate: Gate, home: Path, words: list[str], arguments: str
) -> None:
    job = submitted(gate, home, "-N", "mine", "/bin/echo", *words)
    assert (job["name"], job["arguments"]) == ("mine", arguments)


def test_a_relative_executable_is_sent_along(gate: Gate, home: Path) -> None:
    (home / "work" / "sub").mkdir()
    (home / "work" / "sub" / "run.py").write_text("#!/usr/bin/env python3\n")
    job = submitted(gate, home, "sub/run.py", "-x")
    assert (job["executable"], job["name"], job["arguments"]) == ("run.py", "run.py", "-x")
    content, mode = sent(gate, job)["run.py"]
    assert content == "#!/usr/bin/env python3\n"
    assert mode & 0o111
    assert not (home / "work" / "sub" / "run.py").stat().st_mode & 0o111


def test_a_missing_executable_is_refused_a_program_of_the_path_is_not(gate: Gate, home: Path) -> None:
    done = run(home, "dsub", "no-such-thing-here")
    assert done.returncode == 2
    assert "error: no such file: no-such-thing-here" in done.stderr
    assert gate.manifests == []
    assert submitted(gate, home, "hostname")["executable"] == "hostname"


def test_lines_of_the_script_count_and_options_count_more(gate: Gate, home: Path) -> None:
    (home / "work" / "a.sh").write_text(
        "#!/bin/sh\n#JDL JobName = from-script\n#JDL CPUTime=100\n#JDL Priority=3\n"
    )
    (home / "work" / "base.jdl").write_text('[ JobName = "from-jdl"; JobGroup = "g1"; CPUTime = 5; ]')
    job = submitted(gate, home, "-J", "base.jdl", "--CPUTime", "200", "a.sh")
    assert (job["name"], job["cpu_time"], job["priority"], job["job_group"]) == ("from-script", 200, 3, "g1")


def test_every_option_arrives(gate: Gate, home: Path) -> None:
    (home / "work" / "in.txt").write_text("in")
    (home / "work" / "two.txt").write_text("two")
    options = [
        "-N",
        "n;1",
        "-E",
        "e.txt",
        "-O",
        "o.txt",
        "--InputSandbox",
        "in.txt,two.txt",
        "--CPUTime",
        "60",
    ]
    options += [
        "--Site",
        "A,B",
        "--BannedSite",
        "C",
        "--BannedSite",
        "D",
        "--Platform",
        "x86",
        "--Priority",
        "9",
    ]
    job = submitted(gate, home, *options, "--JobGroup", "g", "/bin/true")
    wanted = {
        "name": "n;1",
        "std_error": "e.txt",
        "std_output": "o.txt",
        "cpu_time": 60,
        "sites": ["A", "B"],
        "banned_sites": ["C", "D"],
        "platforms": ["x86"],
        "priority": 9,
        "job_group": "g",
        "output_sandbox": ["o.txt", "e.txt"],
    }
    assert {key: job[key] for key in wanted} == wanted
    assert {name: content for name, (content, _) in sent(gate, job).items()} == {
        "in.txt": "in",
        "two.txt": "two",
    }
    assert submitted(gate, home, "--OutputSandbox", "a,b", "/bin/true")["output_sandbox"] == ["a", "b"]


def test_a_jdl_as_file_and_as_text(gate: Gate, home: Path) -> None:
    (home / "work" / "run.sh").write_text("#!/bin/sh\n")
    text = '[ Executable = "run.sh"; Arguments = "a b"; InputSandbox = {"run.sh", "SB:kept"}; ]'
    (home / "work" / "job.jdl").write_text(text)
    for given in ("job.jdl", text):
        job = submitted(gate, home, "-J", given)
        assert (job["executable"], job["arguments"], job["name"]) == ("run.sh", "a b", "Unknown")
        assert job["input_sandbox"][0] == "SB:kept"
        assert set(unpacked(gate.sandboxes[job["input_sandbox"][1]])) == {"run.sh"}
    missing = run(home, "dsub", "-J", "none.jdl")
    assert (missing.returncode, "cannot read none.jdl" in missing.stderr) == (2, True)
    wrong = run(home, "dsub", "-J", "Executable = ;")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    assert wrong.stderr.startswith("error: the job description is not understood\nwhy: ")


def test_a_script_on_standard_input(gate: Gate, home: Path) -> None:
    job = submitted(gate, home, "--JobGroup", "g", stdin="#JDL Site=HERE\necho hello\n")
    assert (job["executable"], job["name"], job["sites"]) == ("STDIN", "STDIN", ["HERE"])
    content, mode = sent(gate, job)["STDIN"]
    assert content == "#!/bin/sh\n#JDL Site=HERE\necho hello\n"
    assert mode & 0o111
    assert run(home, "dsub", stdin=" \n").returncode == 2


def test_parametric_jobs_share_their_sandbox(gate: Gate, home: Path) -> None:
    (home / "work" / "run.sh").write_text("#!/bin/sh\n")
    done = run(home, "dsub", "--Parametric", "1:4", "-N", "job-%n", "run.sh", "%s")
    assert done.stdout == "1,2,3\n"
    assert [(job["name"], job["arguments"]) for job in gate.manifests] == [
        ("job-0", "1"),
        ("job-1", "2"),
        ("job-2", "3"),
    ]
    assert len(gate.of("/api/sandboxes")) == 1
    assert len({tuple(job["input_sandbox"]) for job in gate.manifests}) == 1


def test_what_dsub_prints(gate: Gate, home: Path) -> None:
    assert json.loads(run(home, "dsub", "--json", "/bin/true").stdout) == {"ids": [1]}
    verbose = run(home, "dsub", "-v", "/bin/true").stdout
    assert verbose.endswith("]\nJobID: 2\n")
    assert json.loads(verbose.removesuffix("JobID: 2\n"))[0]["executable"] == "/bin/true"
    remark = run(home, "dsub", "-J", 'Executable="/bin/true"; OutputSE="X"')
    assert (remark.stdout, remark.stderr) == ("3\n", "note: OutputSE has no effect here\n")
    (home / "work" / "job.jdl").write_text("Executable = a;\n")
    forgotten = run(home, "dsub", "job.jdl")
    assert (forgotten.stdout, forgotten.stderr) == (
        "4\n",
        "note: job.jdl is sent as a program; a job description is given with -J\n",
    )
    option = run(home, "dsub", "--Priority", "11", "/bin/true")
    assert "\nwhy: Priority is a whole number from 0 to 10, not 11\n" in option.stderr


def test_a_sandbox_that_cannot_be_packed(gate: Gate, home: Path) -> None:
    done = run(home, "dsub", "--InputSandbox", "missing.txt", "/bin/true")
    assert done.returncode == 1
    assert "missing.txt does not exist" in done.stderr
    assert gate.manifests == []


def test_a_refusal_says_what_why_and_what_next(gate: Gate, home: Path) -> None:
    gate.refuse_submit = {
        "error": "insufficient_rights",
        "error_description": "your group may not submit jobs",
        "missing": ["NormalUser"],
        "groups_with_it": ["training_user"],
    }
    done = run(home, "dsub", "/bin/true")
    assert done.returncode == 1
    assert done.stderr == (
        "error: your group may not submit jobs\n"
        "why: insufficient_rights (HTTP 403); missing: NormalUser; groups that have it: training_user\n"
        "run: dirac-login training_user\n"
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dsub", ["/bin/true"]),
        ("dstat", []),
        ("doutput", ["1"]),
        ("dlogging", ["1"]),
        ("dkill", ["1"]),
    ],
)
def test_nobody_is_logged_in(name: str, arguments: list[str], tmp_path: Path) -> None:
    done = command(name, *arguments, env=environment(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: you are not logged in\nwhy: no token in {tmp_path / 'bt'}\nrun: dirac-login <group> --issuer URL\n"
    )


def test_dstat_shows_my_unfinished_jobs(gate: Gate, home: Path) -> None:
    gate.add_job(7, "Running", name="long name")
    gate.add_job(12, "Waiting", site="LCG.X.org")
    gate.add_job(13, "Done")
    gate.add_job(14, "Running", owner="eve")
    done = run(home, "dstat")
    assert done.stdout == (
        "JobID  Owner  JobName    OwnerGroup     JobGroup  Site       Status   MinorStatus  SubmissionTime\n"
        "7      bob    long name  training_user            ANY        Running  Application  2026-11-22T19:16:00Z\n"
        "12     bob    hello      training_user            LCG.X.org  Waiting  Application  2026-11-22T19:16:00Z\n"
    )
    assert gate.of("/api/jobs")[0].query == {"days": "10", "final": "0", "limit": "10000"}


@pytest.mark.parametrize(
    ("arguments", "query", "found"),
    [
        (["-a", "-D", "3"], {"days": "3", "limit": "10000"}, [1, 2]),
        (["-S", "done,FAILED"], {"days": "10", "status": "Done,Failed", "limit": "10000"}, [2]),
        (["-u", "eve"], {"days": "10", "final": "0", "limit": "10000", "owner": "eve"}, [3]),
        (["-u", "__all__"], {"days": "10", "final": "0", "limit": "10000", "owner": "*"}, [1, 3]),
        (["1,2", "3"], {"ids": "1,2,3", "owner": "*"}, [1, 2, 3]),
        (["-g", "grp"], {"days": "10", "final": "0", "limit": "10000", "job_group": "grp"}, [1]),
        (["-n", "hello"], {"days": "10", "final": "0", "limit": "10000", "name": "hello"}, [1]),
    ],
)
def test_what_dstat_asks(
    gate: Gate, home: Path, arguments: list[str], query: dict[str, str], found: list[int]
) -> None:
    gate.add_job(1, "Running", job_group="grp")
    gate.add_job(2, "Done")
    gate.add_job(3, "Running", owner="eve")
    done = run(home, "dstat", "--json", *arguments)
    assert [job["job_id"] for job in json.loads(done.stdout)] == found
    assert gate.of("/api/jobs")[0].query == query


def test_formats_and_fields(gate: Gate, home: Path) -> None:
    gate.add_job(1, name='a, "b"', job_type="Merge")
    rows = list(csv.reader(io.StringIO(run(home, "dstat", "-f", "csv").stdout)))
    assert rows[0] == list(DEFAULT_COLUMNS)
    assert rows[1][2] == 'a, "b"'
    assert run(home, "dstat", "-F", "jobtype,CPUTime", "-f", "csv").stdout == "JobType,CPUTime\nMerge,86400\n"
    assert json.loads(run(home, "dstat", "-F", "JobID", "-f", "json").stdout) == [{"job_id": 1}]
    assert json.loads(run(home, "dstat", "--json").stdout) == [gate.jobs[1]]
    assert len(run(home, "dstat", "-F", ",".join(COLUMNS)).stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-F", "Statu"], "did you mean Status?"),
        (["-S", "Runing"], "did you mean Running?"),
        (["-f", "xml"], "no such format: xml"),
        (["seven"], "not a job number: seven"),
        (["0"], "not a job number: 0"),
        (["-D", "0"], "Error"),
        (["-i", "missing.txt"], "cannot read missing.txt"),
    ],
)
def test_wrong_usage_asks_nobody(gate: Gate, home: Path, arguments: list[str], words: str) -> None:
    done = run(home, "dstat", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert gate.seen == []


def test_job_numbers_from_a_file(gate: Gate, home: Path) -> None:
    for job_id in (1, 2, 3):
        gate.add_job(job_id)
    (home / "work" / "ids").write_text("1, 2\n[3]\n1\n")
    assert len(json.loads(run(home, "dstat", "--json", "-i", "ids").stdout)) == 3
    assert gate.of("/api/jobs")[0].query["ids"] == "1,2,3"
    assert len(json.loads(run(home, "dstat", "--json", "-i", "-", stdin="2\n").stdout)) == 1


def test_a_job_nobody_knows(gate: Gate, home: Path) -> None:
    gate.add_job(1)
    done = run(home, "dstat", "1", "99", "-F", "JobID")
    assert (done.returncode, done.stdout) == (1, "JobID\n1\n")
    assert "error: no such job: 99\n" in done.stderr
    nothing = run(home, "dstat", "-u", "nobody")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "note: no unfinished jobs; dstat -a shows all\n"


def test_words_of_others_cannot_steer_the_terminal(gate: Gate, home: Path) -> None:
    gate.add_job(1, name="\x1b[31mred\n\u202eevil")
    done = run(home, "dstat", "-F", "JobName")
    assert done.stdout == "JobName\n[31mred evil\n"
    assert run(home, "dstat", "--json").stdout.isascii()


def test_output_goes_into_a_directory_per_job(gate: Gate, home: Path) -> None:
    for job_id in (1, 2):
        gate.add_job(job_id, "Done", job_group="g")
        gate.outputs[job_id] = archive(std_out=f"hello {job_id}")
    gate.add_job(3, "Running", job_group="g")
    done = run(home, "doutput", "-g", "g", "-D", "out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out/1\nout/2\n", "")
    assert (home / "work" / "out" / "2" / "std.out").read_text() == "hello 2"
    plain = run(home, "doutput", "-n", "1", "--json")
    assert json.loads(plain.stdout) == [{"job_id": 1, "directory": ".", "files": ["std.out"]}]
    assert (home / "work" / "std.out").read_text() == "hello 1"


def test_one_refusal_does_not_stop_the_others(gate: Gate, home: Path) -> None:
    for job_id in (1, 2, 3):
        gate.add_job(job_id, "Done")
    gate.outputs[3] = archive(std_out="hello")
    (home / "work" / "2").mkdir()
    (home / "work" / "2" / "std.out").write_text("precious")
    gate.outputs[2] = gate.outputs[3]
    done = run(home, "doutput", "1", "2", "3")
    assert (done.returncode, done.stdout) == (1, "3\n")
    assert (
        "error: job 1: no output yet\nwhy: no_output (HTTP 404)\nnext: wait until it is Done\n" in done.stderr
    )
    assert "error: job 2: the output of job 2 cannot be unpacked" in done.stderr
    assert (home / "work" / "2" / "std.out").read_text() == "precious"
    assert not (home / "work" / "1").exists()


def test_an_evil_archive_writes_nothing(gate: Gate, home: Path) -> None:
    gate.add_job(1, "Done")
    gate.outputs[1] = archive(**{"../evil": "x"})
    done = run(home, "doutput", "1")
    assert done.returncode == 1
    assert [entry.name for entry in (home / "work").iterdir()] == []


def test_dlogging(gate: Gate, home: Path) -> None:
    gate.add_job(1)
    gate.add_job(2)
    assert run(home, "dlogging", "1").stdout == (
        "Status    MinorStatus   ApplicationStatus  Time                  Source\n"
        "Received  Job accepted                     2026-11-22T19:16:00Z  JobManager\n"
    )
    assert run(home, "dlogging", "1", "2", "-f", "csv").stdout == (
        "JobID,Status,MinorStatus,ApplicationStatus,Time,Source\n"
        "1,Received,Job accepted,,2026-11-22T19:16:00Z,JobManager\n"
        "2,Received,Job accepted,,2026-11-22T19:16:00Z,JobManager\n"
    )
    assert json.loads(run(home, "dlogging", "1", "--json").stdout)[0]["events"][0]["source"] == "JobManager"
    assert run(home, "dlogging").returncode == 2
    assert run(home, "dlogging", "5").returncode == 1


def test_dkill(gate: Gate, home: Path) -> None:
    for job_id, status in ((1, "Running"), (2, "Waiting"), (3, "Done"), (4, "Done")):
        gate.add_job(job_id, status)
    gate.add_job(5, owner="eve")
    assert run(home, "dkill", "-v", "1").stdout == "1 Killed\n"
    refused = run(home, "dkill", "3", "2")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "error: job 3: a job that is Done cannot be killed\n" in refused.stderr
    assert run(home, "dkill", "-D", "3").returncode == 0
    assert [gate.jobs[job_id]["status"] for job_id in (1, 2, 3, 4)] == ["Killed", "Killed", "Deleted", "Done"]


def test_dkill_all_of_mine(gate: Gate, home: Path) -> None:
    for job_id, owner in ((1, "bob"), (2, "bob"), (3, "eve")):
        gate.add_job(job_id, "Waiting", owner=owner)
    assert json.loads(run(home, "dkill", "-a", "--json").stdout) == [
        {"job_id": 1, "status": "Killed"},
        {"job_id": 2, "status": "Killed"},
    ]
    assert gate.jobs[3]["status"] == "Waiting"
    assert run(home, "dkill").returncode == 2
    assert run(home, "dkill", "-a", "3").returncode == 2


def test_a_server_that_fails_is_not_asked_for_every_job(gate: Gate, home: Path) -> None:
    gate.broken = [500] * 10
    done = run(home, "dkill", *map(str, range(1, 9)))
    assert done.returncode == 1
    assert len(gate.seen) == 1


def test_a_reader_that_has_enough_makes_no_noise(gate: Gate, home: Path) -> None:
    for job_id in range(1, 3000):
        gate.add_job(job_id)
    line = "dstat | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={**environment(home), "PATH": _path()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("JobID")
    assert done.stderr == ""


def _path() -> str:
    import os
    import sys

    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
