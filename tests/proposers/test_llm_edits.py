"""Edits of a model: applied exactly, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.proposers.llm.edits import Block, apply, nearest_lines, parse, syntax_problems

FILE = "LR = 0.1\nWIDTH = 64\n\n\ndef train():\n    step(LR)\n"
ONE = ["train.py"]

# Lines as files have them: any character but the two that end a line; some are alike.
LINE = st.one_of(
    st.sampled_from(["", "x", "    x", "=======", "é", "\u2028", "\x0c", "\udcff", "日本"]),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8),
)
LINES = st.lists(LINE, max_size=12)
NEW = st.lists(LINE, max_size=5)
OLD = st.lists(LINE, min_size=1, max_size=5)


def search(path: str, old: str, new: str) -> str:
    """A block as a model writes it."""
    return f"<<<<<<< SEARCH {path}\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def whole(path: str, text: str) -> str:
    """A whole file as a model writes it."""
    return f"<<<<<<< WHOLE {path}\n{text}\n>>>>>>> END\n"


def edited(reply: str, text: str = FILE) -> str:
    """train.py after a reply without problems."""
    parsed = parse(reply, ONE)
    assert parsed.problems == ()
    applied = apply(parsed.blocks, {"train.py": text})
    assert applied.problems == ()
    return applied.files.get("train.py", text)


def problem(reply: str, text: str = FILE, editable: tuple[str, ...] = ("train.py",)) -> str:
    """The single problem of a reply, which changes no file."""
    parsed = parse(reply, editable)
    applied = apply(parsed.blocks, dict.fromkeys(editable, text))
    assert not (applied.files and applied.problems)
    (found,) = [*parsed.problems, *applied.problems]
    return found


# ---- what is applied ---------------------------------------------------------------------------


def test_a_block_replaces_its_lines_and_the_note_is_read() -> None:
    """The plain case, with prose and fences around it, as models write."""
    reply = f"NOTE: a larger rate\n\n```python\n{search('train.py', 'LR = 0.1', 'LR = 0.2')}```\n"
    assert parse(reply, ONE).note == "a larger rate"
    assert edited(reply) == FILE.replace("0.1", "0.2")


@pytest.mark.parametrize(
    "head",
    ["train.py\n<<<<<<< SEARCH", "`train.py`:\n```\n<<<<<<< SEARCH", "<<<<<<< SEARCH ./train.py"],
)
def test_the_path_may_stand_above(head: str) -> None:
    """Models name a file on the marker, or alone in the line before it."""
    assert "0.2" in edited(f"{head}\nLR = 0.1\n=======\nLR = 0.2\n>>>>>>> REPLACE")


def test_blocks_apply_in_order_to_what_the_earlier_left() -> None:
    """A second block may quote what the first one wrote."""
    reply = search("train.py", "LR = 0.1", "LR = 0.2") + search("train.py", "LR = 0.2", "LR = 3")
    assert edited(reply) == FILE.replace("0.1", "3")


def test_a_whole_file_replaces_all() -> None:
    """Dividers in it are its own, and a fence around it is not."""
    assert edited(whole("train.py", "A = 1\n=======\nB = 2")) == "A = 1\n=======\nB = 2\n"
    assert edited(whole("train.py", "```python\nA = 1\n```")) == "A = 1\n"
    assert edited(whole("train.py", "A = 1"), "x = 1\r\ny = 2\r\n") == "A = 1\r\n"


def test_lines_can_be_taken_out_and_an_empty_file_filled() -> None:
    """An empty half is allowed where it leaves no doubt."""
    assert edited("<<<<<<< SEARCH\nWIDTH = 64\n=======\n>>>>>>> REPLACE") == FILE.replace(
        "WIDTH = 64\n", ""
    )
    assert edited("<<<<<<< SEARCH\n=======\nA = 1\n>>>>>>> REPLACE", "") == "A = 1\n"


def test_line_endings_stay() -> None:
    """A \\r\\n file stays one though models write \\n; so does a file without a last newline."""
    assert edited(search("train.py", "b", "b\nc"), "a\r\nb\r\n") == "a\r\nb\r\nc\r\n"
    assert edited(search("train.py", "b", "b\nc"), "a\nb") == "a\nb\nc"
    assert edited(search("train.py", "b", "c"), "a\r\nb") == "a\r\nc"
    assert edited(search("train.py", "a", "c"), "a\nb\r\n") == "c\nb\r\n"
    assert edited(search("train.py", "b", "c").replace("\n", "\r\n"), "a\nb\n") == "a\nc\n"


@given(
    before=LINES, after=LINES, old=st.lists(LINE, min_size=1, max_size=5), new=NEW, data=st.data()
)
def test_what_no_block_quotes_is_untouched(
    before: list[str], after: list[str], old: list[str], new: list[str], data: st.DataObject
) -> None:
    """Whatever the endings: all lines before and after the quoted ones stay, byte for byte."""
    lines = [*before, *old, *after]
    ending = st.sampled_from(["\n", "\r\n"])
    ends = data.draw(st.lists(ending, min_size=len(lines), max_size=len(lines)))
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    first = len("".join(a + b for a, b in zip(before, ends, strict=False)))
    tail = "".join(a + b for a, b in zip(after, ends[len(before) + len(old) :], strict=True))
    places = [i for i in range(len(lines)) if lines[i : i + len(old)] == old]
    applied = apply([Block("f", tuple(old), tuple(new))], {"f": text})
    if len(places) != 1:
        assert applied.problems
        assert applied.files == {}
        return
    assert applied.problems == ()
    result = applied.files.get("f", text)
    assert result.startswith(text[:first])
    assert result.endswith(tail)
    middle = result[first : len(result) - len(tail)]
    assert middle.replace("\r\n", "\n") == "".join(f"{line}\n" for line in new)


@given(lines=st.lists(LINE, min_size=1), old=LINE, new=NEW)
def test_a_file_without_a_last_newline_stays_one(
    lines: list[str], old: str, new: list[str]
) -> None:
    """What is edited elsewhere, or at the end itself, does not add one."""
    text = "\n".join(lines)
    if text.endswith("\n") or not text or lines.count(old) != 1:
        return
    result = apply([Block("f", (old,), tuple(new))], {"f": text}).files.get("f", text)
    expected = [line for each in lines for line in (new if each == old else [each])]
    assert result == "\n".join(expected)


@given(text=st.text(), old=LINES, new=NEW)
def test_applied_exactly_once_or_not_at_all(text: str, old: list[str], new: list[str]) -> None:
    """For any text and any lines: an edit, or one problem and no file."""
    applied = apply([Block("f", tuple(old), tuple(new))], {"f": text})
    assert len(applied.problems) in (0, 1)
    if applied.problems:
        assert applied.files == {}


@given(reply=st.text(st.sampled_from("<>=SEARCHWOLREPLND \n`x.py:"), max_size=300))
def test_no_reply_breaks_the_parser(reply: str) -> None:
    """Any text is a note, blocks and problems."""
    parsed = parse(reply, ONE)
    apply(parsed.blocks, {"train.py": FILE})


@given(
    kept=st.lists(st.tuples(LINE, NEW).filter(lambda pair: "=======" not in [pair[0], *pair[1]]))
)
def test_what_is_written_as_blocks_is_read_as_blocks(kept: list[tuple[str, list[str]]]) -> None:
    """Parsing gives back what was written, line for line."""
    usual = [(a, b) for a, b in kept if "\udcff" not in [a, *b]]
    reply = "".join(search("train.py", a, "\n".join(b)) for a, b in usual if b)
    found = [(block.search, block.replace) for block in parse(reply, ONE).blocks]
    assert found == [((a,), tuple(b)) for a, b in usual if b]


# ---- what is not -------------------------------------------------------------------------------


def test_a_miss_shows_the_nearest_lines() -> None:
    """The model sees what really stands there, blanks included, so that it can quote it."""
    said = problem(search("train.py", "def train():\n  step(LR)", "pass"))
    assert "does not occur in the file" in said
    assert "\ndef train():\n    step(LR)" in said
    assert "step(LR)" in problem(search("train.py", "    stop(LR)", "pass"))


def test_a_search_that_fits_twice_is_refused_with_the_places() -> None:
    """Overlapping places count as well."""
    said = problem(search("train.py", "a\na", "b"), "a\na\na\n")
    assert "occurs 2 times (lines 1, 2)" in said


def test_part_of_a_line_is_no_match() -> None:
    """Lines are whole: `LR = 0.1` is not found in `LR = 0.10`."""
    assert "does not occur in the file" in problem(
        search("train.py", "LR = 0.1", "x"), "LR = 0.10\n"
    )


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (search("prepare.py", "a", "b"), "prepare.py may not be edited; only train.py may"),
        (whole("../x.py", "a"), r"../x.py may not be edited"),
        ("prepare.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE", "prepare.py may not"),
        ("<<<<<<< WHOLE\na\n>>>>>>> END", "names no file"),
        ("<<<<<<< SEARCH\nLR = 0.1\n=======\nb", "no closing line `>>>>>>> REPLACE`"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE", "has 0 lines `=======`"),
        ("<<<<<<< SEARCH\na\n=======\n=======\n>>>>>>> REPLACE", "has 2 lines `=======`"),
        ("<<<<<<< SEARCH\na\n<<<<<<< SEARCH\n=======\nb\n>>>>>>> REPLACE", "not closed before"),
        ("<<<<<<< SEARCH\n=======\nb\n>>>>>>> REPLACE", "an empty SEARCH fits everywhere"),
    ],
)
def test_a_broken_block_is_a_problem_that_says_what_to_do(reply: str, said: str) -> None:
    """Nothing is guessed."""
    assert said in problem(reply)


def test_with_two_editable_files_a_block_must_name_its_own() -> None:
    """There is no default among several."""
    reply = "<<<<<<< SEARCH\nLR = 0.1\n=======\nb\n>>>>>>> REPLACE"
    assert "names no file" in problem(reply, editable=("train.py", "model.py"))


def test_one_bad_block_leaves_nothing_of_the_good_ones() -> None:
    """All of them, or none."""
    reply = search("train.py", "LR = 0.1", "LR = 1") + search("train.py", "nowhere", "x")
    assert "nowhere" in problem(reply)


@pytest.mark.parametrize(
    ("reply", "note"),
    [
        ("**NOTE:** wider\n", "wider"),
        ("Note: x\x1b[31m y\u202e\n", "x y"),
        ("\n```\nI make it wider.\n", "I make it wider."),
        ("", ""),
        ("NOTE: " + "w" * 1000, "w" * 299 + "…"),
    ],
)
def test_the_note_is_one_printable_line(reply: str, note: str) -> None:
    """In any style of writing; without a NOTE, the first line with text."""
    assert parse(reply, ONE).note == note


@given(wanted=st.lists(LINE, min_size=1), lines=LINES)
def test_the_nearest_lines_are_lines_of_the_file(wanted: list[str], lines: list[str]) -> None:
    """In order, from the line that the message names."""
    first, near = nearest_lines(wanted, lines)
    assert near == lines[first : first + len(near)]
    assert near or not lines


def test_a_long_file_is_searched_without_delay() -> None:
    """Twenty thousand lines, none alike: the one that is nearest is found all the same."""
    lines = [f"value_{i} = {i * i}" for i in range(20_000)]
    first, near = nearest_lines(["value_777 = nothing at all"], lines)
    assert near
    assert first >= 0


# ---- syntax ------------------------------------------------------------------------------------


def test_a_syntax_error_is_found_without_running() -> None:
    """The line and the compiler's words; nothing for a good file, or one that is no Python."""
    (said,) = syntax_problems({"train.py": FILE}, {"train.py": "x = (\n"})
    assert said.startswith(
        "train.py: the edit leaves a syntax error: '(' was never closed (line 1)"
    )
    assert syntax_problems({"train.py": FILE}, {"train.py": "x = 1\n"}) == []
    assert syntax_problems({"a.txt": ""}, {"a.txt": "x = ("}) == []
    assert syntax_problems({"a.py": ""}, {"a.py": "return 1"})
    assert syntax_problems({"a.py": ""}, {"a.py": "x = 1\0"})
    assert syntax_problems({"a.py": ""}, {"a.py": "x = '\\d'"}) == []


def test_a_file_that_is_beyond_our_python_is_left_alone() -> None:
    """When the parent does not compile here either, the lab's own Python decides."""
    assert syntax_problems({"a.py": "match t'x' ->"}, {"a.py": "match t'y' ->"}) == []


def test_an_f_string_that_would_take_long_is_a_problem_and_not_compiled() -> None:
    """Python 3.11 takes the square of its length in time."""
    long = 'x = f"' + "{a}" * 20_000 + '"\n'
    (problem,) = syntax_problems({"train.py": "x = 1\n"}, {"train.py": long})
    assert "an f-string has 60,003 characters" in problem
