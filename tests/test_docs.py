"""The documentation says what is: pages made from the code are current, links lead somewhere, commands exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import meanings, reference

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
TEXTS = [
    *PAGES,
    *sorted((ROOT / "docs" / "examples").iterdir()),
    *(p for p in PICTURES if p.suffix == ".svg"),
]
LINK = re.compile(r'\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)"')
BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
SHELL = {"export", "unset", "cp", "mkdir", "cat", "chmod", "curl"}
# Places of one machine, and addresses of package indexes. Grid software defines /tmp/bt_u<uid> (WLCG bearer tokens).
FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:work|tmp(?!/bt_u)|root|home|var/folders)/|/tmp\b(?!/bt_u)"
    r"|pypi\.org|pythonhosted|index-url|\bsandbox session\b|googleapis|jsdelivr|cdnjs|unpkg",
    re.IGNORECASE,
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def missing_links(text: str, folder: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = [one or other for one, other in LINK.findall(text)]
    local = [link.partition("#")[0] for link in found if not re.match(r"[a-z]+:", link)]
    return [link for link in local if link and not (folder / link).exists()]


def typed(text: str) -> Iterator[list[str]]:
    """The commands of `console` blocks, as words, without what is assigned before them."""
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while ASSIGNMENT.fullmatch(words[0]):
                    words = words[1:]
                yield words


def wrong_with(words: list[str]) -> str:
    """Why these words are no command of ours, of make, or of an ordinary shell; empty when they are."""
    first, *rest = words
    first = first.removeprefix(".venv/bin/")
    if first in SHELL:
        return ""
    if first == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return "" if rest and rest[0] in targets else f"no such target: {words}"
    commands = reference.every_command()
    spelled = next((s for n in (3, 2, 1) if (s := " ".join([first, *rest][:n])) in commands), None)
    if spelled is None:
        return f"no such command: {words}"
    options = {word for one in commands[spelled].params for word in (*one.opts, *one.secondary_opts)}
    if first == "dsub":  # what comes after the executable belongs to it
        rest = rest[: next((i for i, word in enumerate(rest) if word.startswith("/")), len(rest))]
    unknown = [word for word in rest if word.startswith("-") and word not in options]
    return f"no such option: {unknown} of {spelled}" if unknown else ""


def test_the_checks_catch_what_they_look_for() -> None:
    assert missing_links("[a](nowhere.md) [b](README.md#part) [c](https://example.org)", ROOT) == [
        "nowhere.md"
    ]
    assert list(typed("```console\n$ A=1 dstat -a  # all\nJobID\n```\n")) == [["dstat", "-a"]]
    for line in ("dstatt", "dstat --nothing", "gatehouse nothing", "make nothing"):
        assert wrong_with(line.split()), line
    for text in ("see /work/x", "/tmp/x", "in /tmp", "https://pypi.org/simple", "--index-url"):
        assert FORBIDDEN.search(text), text
    assert not FORBIDDEN.search("/tmp/bt_u<uid>")


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_is_what_the_code_says(page: str) -> None:
    assert (reference.REFERENCE / page).read_text() == reference.PAGES[page](), (
        "run: .venv/bin/python -m tools.reference"
    )


def test_every_setting_has_a_meaning_and_no_meaning_is_left_over() -> None:
    assert sorted(reference.names()) == sorted(meanings.MEANINGS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert missing_links(page.read_text(), page.parent) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists(page: Path) -> None:
    assert [why for words in typed(page.read_text()) if (why := wrong_with(words))] == []


def test_commands_are_shown_at_all() -> None:
    assert sum(len(list(typed(page.read_text()))) for page in PAGES) > 20


@pytest.mark.parametrize("text", TEXTS, ids=name)
def test_nothing_belongs_to_one_machine_or_comes_from_elsewhere(text: Path) -> None:
    assert [found.group() for found in FORBIDDEN.finditer(text.read_text())] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_named_test_exists(page: Path) -> None:
    gone = []
    for file, test in TEST.findall(page.read_text()):
        path = ROOT / file
        tree = ast.parse(path.read_text()) if path.exists() else ast.Module([], [])
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        if not path.exists() or (test and test not in defined):
            gone.append(f"{file}::{test}")
    assert gone == []


@pytest.mark.parametrize("picture", PICTURES, ids=name)
def test_a_picture_is_small_and_needs_nothing_from_anywhere(picture: Path) -> None:
    assert picture.stat().st_size < 60_000
    if picture.suffix == ".svg":
        text = picture.read_text()
        addresses = set(re.findall(r"https?://([^/\s<\"':]+)", text)) - {"www.w3.org", "127.0.0.1"}
        assert addresses == set()
        assert not re.search(r"<script|@import|@font-face|url\((?!#)|<image|href=", text)


def test_the_recorded_run_shows_the_whole_road() -> None:
    text = (ROOT / "docs" / "pictures" / "road.svg").read_text().replace("\u00a0", " ")
    wanted = ["make demo ONCE=1", "subject      : ", "properties   : NormalUser", "  Done<", ">Hello world<"]
    assert [words for words in wanted if words not in text] == []
