"""The .cfg grammar, item by item, and that trees come back from their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.registry.cfg import MAX_DEPTH, MAX_LINE, CfgError, Section, dump, merge, parse


def tree(text: str) -> dict[str, object]:
    """The parsed text as plain dicts."""

    def plain(section: Section) -> dict[str, object]:
        return {n: e if isinstance(e, str) else plain(e) for n, e in section.entries.items()}

    return plain(parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\ufeffA\r\n{\r\n\tx\t=\t1\t\r\n}\r\n", {"A": {"x": "1"}}),
        ("# c\nx = 1 # c", {"x": "1 # c"}),
        ("x = a = b\ny=", {"x": "a = b", "y": ""}),
        ('x = "a;{b}" \\', {"x": '"a;{b}" \\'}),
        ("x = 1\nx = 2", {"x": "2"}),
        ("x = a\nx += b\nx += c += d", {"x": "a, b, c += d"}),
        ("x = a\nx += b\nx = c\nx += d", {"x": "c, d"}),
        ("x = a += b\na+b = c", {"x": "a += b", "a+b": "c"}),
        ("A {}\nB{C{}}", {"A": {}, "B": {"C": {}}}),
        ("A b.c-d {\n}", {"A b.c-d": {}}),
        ("foo\nbar\n{\n}", {"foobar": {}}),
        ("stray\nx = 1\nA {\n}", {"x": "1", "A": {}}),
        ("A {\n}\n/A/B {\nx = 1\n}", {"A": {"B": {"x": "1"}}}),
        ("A { x = 1\n}", {"A": {"A { x": "1"}}),
        ("a/b = 1", {"a/b": "1"}),
        ("x = 1\nX = 2", {"x": "1", "X": "2"}),
    ],
)
def test_what_a_text_means(text: str, expected: dict[str, object]) -> None:
    assert tree(text) == expected
    assert list(tree(text)) == list(expected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n{\n}", 2),
        ("/ {\n}", 1),
        ("A/B {\n}", 1),
        ("x = 1\n}", 2),
        ("A\n{\n", 3),
        ("A {\nx = 1 }", 2),
        ("x += 1", 1),
        ("A {\n}\nA += 1", 3),
        ("A {\n}\nA {\n}", 3),
        ("x = 1\nx {\n}", 2),
        ("x {\n}\nx = 1", 3),
        (" = 1", 1),
        ("A {" * (MAX_DEPTH + 1), 1),
        ("x = " + "1" * MAX_LINE, 1),
        (("y" * 1000 + "\n") * 80, 67),
    ],
)
def test_errors_name_the_line(text: str, line: int) -> None:
    with pytest.raises(CfgError) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.message


def test_many_appends_are_joined_once() -> None:
    assert len(parse("x = a\n" + "x += b\n" * 50_000).get_list("x")) == 50_001


def test_values_have_types() -> None:
    section = parse(
        "A {\nlist = a,, b ,\nyes = TRUE\nno = on\nint = 7\nfloat = 1e3\nmap = a:1, b, c : x:y\n}"
    )
    assert section.get_list("/A/list") == ["a", "b"]
    assert section.get_list("A/none", ("z",)) == ["z"]
    assert [section.get_bool(f"A/{name}", True) for name in ("yes", "no", "none")] == [True, False, True]
    assert [section.get_int(f"A/{name}", 3) for name in ("int", "yes", "none")] == [7, 3, 3]
    assert [section.get_float(f"A/{name}", 3.0) for name in ("float", "yes")] == [1000.0, 3.0]
    assert section.get_dict("A/map") == {"a": "1", "b": True, "c": "x:y"}
    assert section.get("A") == ""
    assert section.section("A/list") is None
    assert dict(section.walk()).keys() == {
        f"/A/{name}" for name in ("list", "yes", "no", "int", "float", "map")
    }


def test_writing_normalises_lists_and_keeps_comments() -> None:
    text = "# first\n#second\nA {\n# why #1\nx = a,b,,c\ny = 1\n}\n"
    assert dump(parse(text)) == (
        "# first\n# second\nA\n{\n  # why 1\n  x = a\n  x += b\n  x += c\n  y = 1\n}\n"
    )


def test_a_later_file_wins_per_option() -> None:
    base = parse("A {\nx = 1\ny = 1\nB {\nz = 1\n}\n}\n")
    later = parse("A {\ny = 2\nB {\nw = 2\n}\n}\nC {\n}\n")
    assert dump(merge(base, later)) == dump(parse("A {\nx = 1\ny = 2\nB {\nz = 1\nw = 2\n}\n}\nC {\n}"))
    assert base.get("A/y") == "1"
    merge(base, later).sections["C"].entries["new"] = "1"
    assert later.sections["C"].entries == {}
    with pytest.raises(CfgError):
        merge(base, parse("A = 1"))


@pytest.mark.parametrize("name", ["", " a", "a{", "}", "a=b", "#a", "a\nb"])
def test_names_that_would_read_otherwise_are_not_written(name: str) -> None:
    with pytest.raises(CfgError):
        dump(Section({name: "1"}))
    with pytest.raises(CfgError):
        dump(Section({name: Section()}))


def test_a_line_break_cannot_be_smuggled_into_a_value() -> None:
    with pytest.raises(CfgError):
        dump(Section({"x": "1\nAdmins = me"}))


words = st.text(st.sampled_from("abcXYZ019 ._-+:/#\\\"'é"), max_size=8).map(str.strip)
option_names = words.filter(lambda name: name and not name.startswith("#"))
section_names = option_names.filter(lambda name: "/" not in name)
values = words | st.lists(words.filter(bool), max_size=4).map(", ".join)


def sections(depth: int) -> st.SearchStrategy[Section]:
    """Trees of sections whose names and values the grammar can write."""
    options = st.dictionaries(option_names, values, max_size=4)
    if depth == 0:
        return options.map(lambda found: Section(dict(found)))
    below = st.dictionaries(section_names, sections(depth - 1), max_size=3)
    return st.tuples(options, below).map(lambda both: Section({**both[0], **both[1]}))


@given(sections(2))
def test_a_tree_comes_back_from_its_text(section: Section) -> None:
    assert parse(dump(section)) == section


@given(st.text(st.sampled_from("ab{}=+#/ \n,"), max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        section = parse(text)
        written = dump(section)
    except CfgError:
        return
    assert dump(parse(written)) == written
