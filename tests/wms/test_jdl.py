"""Job descriptions: what is read, what is refused and where, and that nothing hangs or explodes."""

import time
from collections.abc import Callable
from functools import partial
from textwrap import dedent
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatehouse.wms.jdl import JdlError, Submission, attribute, read, script_lines, submission
from gatehouse.wms.manifest import JOBS_LIMIT, Manifest, manifest
from gatehouse.wms.parametric import EXPANSION_LIMIT, loop_values

T = TypeVar("T")


def one(text: str) -> Manifest:
    (job,) = submission(read(text)).jobs
    return job


def refusal(text: str) -> JdlError:
    with pytest.raises(JdlError) as caught:
        submission(read(text))
    return caught.value


def jdl_jobs(text: str) -> Submission:
    return submission(read(text))


def attempt(work: Callable[[], T]) -> T | JdlError:
    try:
        return work()
    except JdlError as error:
        return error


def test_a_bare_executable_gets_every_default() -> None:
    assert one('Executable = "/bin/ls";') == manifest("/bin/ls")
    assert set(manifest("x")) == set(Manifest.__annotations__)


def test_every_attribute_lands_in_its_field() -> None:
    text = """
    [
      JobName = "three bodies"; Executable = "run.sh"; Arguments = "-n 3 \\"a b\\"";
      JobGroup = demo; JobType = Test; CPUTime = 3600; Priority = 7; LogLevel = debug;
      Site = {"LCG.CERN.ch", LCG.IN2P3.fr}; BannedSite = "LCG.A.ch, LCG.B.ch"; Platform = x86_64-el9;
      Tag = {GPU}; MaxRAM = 4; WholeNode = true; NumberOfProcessors = 8;
      InputSandbox = {"run.sh", "data.txt"}; OutputSandbox = {std.out,std.err,result.root};
      StdOutput = "o.txt"; StdError = "e.txt";
      InputData = {"LFN:/vo.example/a"}; OutputData = out.dat;
      ExecutionEnvironment = [ OMP_NUM_THREADS = 8; mode = "x;y" ];
    ]
    """
    assert one(text) == {
        "executable": "run.sh",
        "arguments": '-n 3 "a b"',
        "name": "three bodies",
        "job_group": "demo",
        "job_type": "Test",
        "cpu_time": 3600,
        "priority": 7,
        "sites": ["LCG.CERN.ch", "LCG.IN2P3.fr"],
        "banned_sites": ["LCG.A.ch", "LCG.B.ch"],
        "platforms": ["x86_64-el9"],
        "tags": ["GPU", "4GB", "WholeNode"],
        "number_of_processors": 8,
        "environment": {"OMP_NUM_THREADS": "8", "mode": "x;y"},
        "input_sandbox": ["run.sh", "data.txt"],
        "output_sandbox": ["std.out", "std.err", "result.root"],
        "std_output": "o.txt",
        "std_error": "e.txt",
        "input_data": ["LFN:/vo.example/a"],
        "output_data": ["out.dat"],
        "log_level": "DEBUG",
    }


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('Executable="e";Arguments="a;b // c /* d */ # e"', "a;b // c /* d */ # e"),
        ('Executable="e"; // Arguments="no";\nArguments="yes";', "yes"),
        ('Executable="e"; /* Arguments="no";\n */ Arguments="yes";', "yes"),
        ('# Arguments="no";\nExecutable="e";\n   # more\nArguments="yes"', "yes"),
        ('Executable="e";;;Arguments=--level=3;', "--level=3"),
        (r'Executable="e";Arguments="tab\t \"q\" back\\slash"', 'tab\t "q" back\\slash'),
        ('Executable="e";Arguments={"-a", b, 3}', "-a b 3"),
        ('executable="e";ARGUMENTS=""', ""),
        ('Executable="e";Arguments=a#b', "a#b"),
    ],
)
def test_comments_and_strings_do_not_mix(text: str, arguments: str) -> None:
    assert one(text)["arguments"] == arguments


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("", 1, 1, "Executable is missing"),
        ('Executable = "";', 1, 1, "Executable is empty"),
        ('Executable = "ls', 1, 14, "not closed on its line"),
        ('Executable = "a\nb"', 1, 14, "not closed on its line"),
        ("Executable = ;", 1, 14, "has no value"),
        ("[ Executable = ]", 1, 16, "has no value"),
        ("Executable", 1, 11, "expected '='"),
        ('Executable = "a"\nArguments = "b"', 2, 1, "expected ';' after the value of Executable"),
        ('[ Executable = "a";', 1, 20, "is not closed"),
        ('[ Executable = "a" ] more', 1, 22, "nothing may follow"),
        ("Executable = {a", 1, 14, "no '}' closes"),
        ("Executable = {a b}", 1, 17, "expected ','"),
        ("Executable = [a = 1;", 1, 14, "no ']' closes"),
        ("Executable = {a}", 1, 14, "one text"),
        ('Executable = "a"; /* b', 1, 19, "never closed"),
        ('Executable = "a"; Arguments = http://b;', 1, 31, "double quotes"),
        (r'Executable = "\x";', 1, 15, "unknown escape"),
        ('Executable = "a\x00";', 1, 14, "control character"),
        ('Executable = "a";\n  executable = "b";', 2, 3, "given twice, first in line 1"),
        ('Executable = "a";\nBanedSites = "b";', 2, 1, "did you mean bannedsites"),
        ('Executable = "a"; GridCE = "b";', 1, 19, "use Site"),
        ('Executable = "a"; Priority = 11;', 1, 19, "from 0 to 10"),
        ('Executable = "a"; CPUTime = soon;', 1, 19, "whole number"),
        ('Executable = "a"; CPUTime = ٣;', 1, 19, "whole number"),
        ('Executable = "a"; LogLevel = LOUD;', 1, 19, "LogLevel is one of"),
        ('Executable = "a"; WholeNode = maybe;', 1, 19, "true or false"),
        ('Executable = "a"; InputData = "LFN:/vo//x";', 1, 19, "empty part"),
        ('Executable = "a"; ExecutionEnvironment = "A";', 1, 19, "NAME=value"),
        ('Executable = "a"; ExecutionEnvironment = {"A=1","A=2"};', 1, 19, "given twice"),
        ('Executable = "a"; X = ' + "{" * 20, 1, 31, "nest at most 8"),
        ('1 = "a"', 1, 1, "expected the name"),
    ],
)
def test_refusals_say_where_and_why(text: str, line: int, column: int, words: str) -> None:
    error = refusal(text)
    assert words in error.message
    assert (error.line, error.column) == (line, column)


def test_a_long_text_is_refused_unread() -> None:
    assert "longer than 64 KiB" in refusal('Executable = "' + "é" * 40_000 + '"').message


def test_what_has_no_effect_is_said_and_claims_are_kept() -> None:
    found = submission(
        read(
            'Executable=e; OutputSE=disk; Zebra=1; Owner=ada; OwnerGroup=users; VirtualOrganization="vo.x";'
            "InputData=LFN:/vo.x/a; OutputData={}"
        )
    )
    assert found.notes == (
        "OutputSE has no effect here",
        "Zebra is no attribute known here; it has no effect",
        "InputData is written down with the job; no data is moved for it yet",
    )
    assert found.claims == {"owner": "ada", "ownergroup": "users", "virtualorganization": "vo.x"}


def test_later_layers_win_and_options_are_no_jdl() -> None:
    layer = {
        **read('Executable="a"; Site="A"; JobName="file"'),
        **script_lines("#!/bin/sh\n#JDL JobName=script\n"),
        **attribute("Arguments", 'x"; Priority = 9; //'),
        **attribute("OutputSandbox", ["a,b", "c"]),
        **attribute("CPUTime", 60),
    }
    (job,) = submission(layer).jobs
    assert (job["name"], job["sites"], job["priority"], job["cpu_time"]) == ("script", ["A"], 1, 60)
    assert job["arguments"] == 'x"; Priority = 9; //'
    assert job["output_sandbox"] == ["a,b", "c"]


def test_site_any_is_no_site() -> None:
    assert one("Executable=e; Site=ANY")["sites"] == []


def test_script_lines() -> None:
    script = dedent("""\
        #!/bin/bash
        #JDL Arguments = -l /tmp ;
        #JDL OutputSandbox={"a;b", c};
        # JDL Priority=9
        #JDLPriority=9
        #JDL\tSite=A, B
        echo "#JDL Priority=9"
        """)
    (job,) = submission({**attribute("Executable", "run.sh"), **script_lines(script)}).jobs
    assert job["arguments"] == "-l /tmp"
    assert job["output_sandbox"] == ["a;b", "c"]
    assert job["sites"] == ["A", "B"]
    assert job["priority"] == 1


@pytest.mark.parametrize(
    ("script", "line", "column"),
    [
        ("x\n#JDL Priority", 2, 1),
        ('x\n\n#JDL A="b', 3, 8),
        ('#JDL A="b" c', 1, 12),
        ("#JDL A=1\n#JDL a=2", 2, 6),
    ],
)
def test_script_lines_are_refused_at_their_place(script: str, line: int, column: int) -> None:
    with pytest.raises(JdlError) as caught:
        script_lines(script)
    assert (caught.value.line, caught.value.column) == (line, column)


def arguments(text: str) -> list[str]:
    return [job["arguments"] for job in submission(read("Executable=e;" + text)).jobs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Parameters={a,"b c"}; Arguments="%s-%n"', ["a-0", "b c-1"]),
        ('Parameters=3; Arguments="%s"', ["1", "1", "1"]),
        ('Parameters=3; ParameterStart=0; ParameterStep=0.1; Arguments="%s"', ["0", "0.1", "0.2"]),
        (
            'Parameters=4; ParameterStart=1; ParameterStep=1; ParameterFactor=2; Arguments="%s"',
            ["1", "3", "7", "15"],
        ),
        ('Parameters=2; Parameters.X={u,v}; ParameterStep=5; Arguments="%s %(X)s %(x)s"', ["1 u u", "6 v v"]),
        ('Parameters.X={u,v}; Arguments="%(X)s %s"', ["u %s", "v %s"]),
        ('Parameters=2; ParameterStart.Y=10; ParameterStep.Y=-5; Arguments="%(Y)s"', ["10", "5"]),
        ('Parameters={"%n","%s"}; Arguments="%s"', ["%n", "%s"]),
        ('Arguments="%s %n %(X)s"', ["%s %n %(X)s"]),
    ],
)
def test_parameters(text: str, expected: list[str]) -> None:
    assert arguments(text) == expected


def test_the_index_is_padded_and_every_attribute_is_filled() -> None:
    jobs = submission(
        read(
            'Executable="run%n"; JobName="j%n"; CPUTime=%s; OutputSandbox={"o%n"}; Parameters=11; ParameterStart=60'
        )
    ).jobs
    assert [job["name"] for job in jobs][::10] == ["j00", "j10"]
    assert jobs[10]["executable"] == "run10"
    assert jobs[10]["output_sandbox"] == ["o10"]
    assert jobs[10]["cpu_time"] == 60
    jobs[0]["output_sandbox"].append("mine")
    assert jobs[1]["output_sandbox"] == ["o01"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Parameters=0", "describes no jobs"),
        ("Parameters={}", "describes no jobs"),
        ("Parameters=-1", "describes no jobs"),
        ("Parameters=1001", "more than 1000 jobs"),
        ("Parameters=999999999999999", "more than 1000 jobs"),
        ("Parameters=1.5", "whole number of jobs"),
        ("Parameters=many", "not a number"),
        ("Parameters={a,b}; Parameters.X={c}", "has 1 values where others have 2"),
        ("ParameterStart=1", "needs Parameters"),
        ("Parameters=2; Parameters.a-b={c,d}", "expected '='"),
        ('Parameters=2; Arguments="%(X)s"', "stands for no parameter"),
        ("Parameters={{a},b}", "plain texts"),
        ("Parameters=100; ParameterFactor=10", "beyond 10^18"),
    ],
)
def test_parameters_refused(text: str, words: str) -> None:
    assert words in refusal("Executable=e;" + text).message


def test_expansion_is_bounded() -> None:
    text = 'Executable=e; Parameters={"' + "x" * 30_000 + '", b}; Arguments="' + "%s" * 15_000 + '"'
    start = time.monotonic()
    assert "all jobs together" in refusal(text).message
    wide = (
        f'Executable=e; Parameters={JOBS_LIMIT}; Arguments="'
        + "x" * (EXPANSION_LIMIT // JOBS_LIMIT + 1)
        + '"'
    )
    assert "all jobs together" in refusal(wide).message
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b c", ["a", "b c"]),
        ("1:4", ["1", "2", "3"]),
        ("0:1:0.25", ["0", "0.25", "0.5", "0.75"]),
        ("1:100:0:3", ["1", "3", "9", "27", "81"]),
        ("1:10:1:2", ["1", "3", "7"]),
        ("5:2:-1", ["5", "4", "3"]),
        ("x,1:3,LFN:/vo/a", ["x", "1", "2", "LFN:/vo/a"]),
        ("1:2:3:4:5", ["1:2:3:4:5"]),
    ],
)
def test_loops(text: str, expected: list[str]) -> None:
    assert loop_values(text) == expected
    assert len(submission({**read("Executable=e"), **attribute("Parameters", expected)}).jobs) == len(
        expected
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1:5:0", "never gets"),
        ("1:5:-1", "never gets"),
        ("5:1", "never gets"),
        ("0:5:0:2", "never gets"),
        ("3:3", "no values"),
        ("0:1001", "more than 1000"),
        ("a,,b", "is empty"),
        ("0:1:0.000000001", "more than 1000"),
        ("1:999999999999999:1:-2", "never gets"),
    ],
)
def test_loops_refused(text: str, words: str) -> None:
    with pytest.raises(JdlError, match=words) as refused:
        loop_values(text)
    assert "line" not in str(refused.value)  # an option stands in no text


def test_a_wrong_option_has_no_line() -> None:
    with pytest.raises(JdlError) as refused:
        submission({**attribute("Executable", "e"), **attribute("Priority", "11")})
    assert str(refused.value) == "Priority is a whole number from 0 to 10, not 11"


MARKS = st.sampled_from(
    [*'[]{}=;,"\\#/*% \n.:-', "Executable", "Parameters", "%s", "%(X)s", "//", "/*", "1", "é"]
)
TEXTS = st.text(max_size=60) | st.lists(MARKS, max_size=60).map("".join)


@given(TEXTS)
@example("[" * 5000)
@example("A={" * 5000)
@example("A=[" * 5000)
@settings(max_examples=400, deadline=2000)
def test_reading_ends_with_jobs_or_a_jdl_error(text: str) -> None:
    found = attempt(lambda: submission(read(text)))
    if isinstance(found, JdlError):
        assert 1 <= found.line <= text.count("\n") + 1
        assert 1 <= found.column <= len(text) + 1
    else:
        assert 1 <= len(found.jobs) <= JOBS_LIMIT


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=2000)
def test_scripts_and_options_end_with_jobs_or_a_jdl_error(text: str, value: str) -> None:
    script = f"#JDL Site={text}\n#JDL Tags {text}\n{text}"
    found = attempt(lambda: script_lines(script))
    assert isinstance(found, dict) or 1 <= found.line <= script.count("\n") + 1
    values = attempt(lambda: loop_values(text))
    if isinstance(values, list):
        layer = {**attribute("Executable", value), **attribute("Parameters", values)}
        jobs = attempt(lambda: submission(layer))
        assert isinstance(jobs, JdlError) or len(jobs.jobs) == len(values) <= JOBS_LIMIT


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@given(VALUES, st.lists(VALUES.filter(lambda text: bool(text.strip())), max_size=5))
@settings(max_examples=200, deadline=2000)
def test_whatever_is_quoted_is_read_back(text: str, items: list[str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    job = one(f"Executable=e;Arguments={quoted(text)};Tags={{{','.join(map(quoted, items))}}}")
    assert job["arguments"] == text.strip()
    assert job["tags"] == list(dict.fromkeys(item.strip() for item in items))


@pytest.mark.parametrize(
    "unit", ['A{}="b";\n', " " * 7 + "\n", "# c\n", "/**/", ";", "B{}={{c,d}};", '"', "\\", "//\n"]
)
def test_time_grows_with_the_text_and_not_faster(unit: str) -> None:
    text = "Executable=e;"
    index = 0
    while len(text) < 60_000:
        text += unit.format(index)
        index += 1
    start = time.monotonic()
    attempt(lambda: submission(read(text)))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("value", ["x", '"x"', "{x}", "{{x}}", "{}", "[x=1]", "[]"])
def test_any_attribute_takes_any_value_or_says_no(value: str) -> None:
    for name in ("Arguments", "Site", "CPUTime", "ExecutionEnvironment", "Parameters", "Owner", "Unheard"):
        found = attempt(partial(jdl_jobs, f"Executable=e; {name}={value}"))
        assert isinstance(found, JdlError) or found.jobs
