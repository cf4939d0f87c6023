"""How much code there is: what a person would call code counts, and nothing else."""

from __future__ import annotations

import pytest

from autoresearch.store.simplicity import Size, size

CODE = """
import math

RATE = 0.5


def area(radius):
    return math.pi * radius**2
"""


def of(text: str | bytes, name: str = "train.py") -> Size:
    """The size of one file."""
    return size({name: text if isinstance(text, bytes) else text.encode()})


def test_lines_are_those_with_something_on_them() -> None:
    """Four lines of code are four, whatever stands between them."""
    assert of(CODE).lines == 4


@pytest.mark.parametrize(
    "text",
    [
        CODE.replace("RATE = 0.5", "RATE = 0.5  # of learning [log 0.1..1]"),
        "# a word in front\n" + CODE + "\n    # and one behind\n",
        CODE.replace("\n", "\r\n"),
        CODE.replace("\n\n", "\n \t\n\n"),
        CODE.replace("RATE = 0.5", "RATE = 0.125"),
        CODE.replace("radius", "r"),
    ],
)
def test_comments_layout_values_and_names_weigh_nothing(text: str) -> None:
    """Two programs that differ in these alone are of one size."""
    assert of(text) == of(CODE)


@pytest.mark.parametrize("begins", ["", "def area(radius):\n"])
def test_a_docstring_weighs_no_node(begins: str) -> None:
    """Of a module or of a function: it explains, and does nothing. Its lines are lines."""
    explained = CODE.replace(begins, begins + ("    " if begins else "") + '"""Why."""\n', 1)
    assert of(explained).nodes == of(CODE).nodes
    assert of(explained).lines == of(CODE).lines + 1


def test_docstrings_of_classes_and_coroutines_weigh_nothing_either() -> None:
    """All four that can have one."""
    bare = "class A:\n    async def f(self):\n        return 1\n"
    said = 'class A:\n    """A."""\n    async def f(self):\n        """F."""\n        return 1\n'
    assert of(said).nodes == of(bare).nodes


def test_a_text_that_is_no_docstring_weighs_what_it_is() -> None:
    """A text after the first statement, or one that is a value, is code."""
    assert of("x = 1\n'a text'\n").nodes > of("x = 1\n").nodes  # type: ignore[operator]
    assert of("x = 'text'\n").nodes == of("x = 1\n").nodes


def test_a_negative_number_weighs_what_a_positive_one_weighs() -> None:
    """A sign is no code; taking something away from a name is."""
    assert of("x = -1\n") == of("x = 1\n")
    assert of("x = (-1, +2, 3)\n") == of("x = (1, 2, 3)\n")
    assert of("x = -y\n").nodes > of("x = y\n").nodes  # type: ignore[operator]


def test_what_python_warns_of_is_code_like_any_other() -> None:
    """A text with a doubtful escape is counted, and nothing is said."""
    assert of('x = "\\d"\n') == of('x = "d"\n')


def test_more_code_is_more() -> None:
    """A statement, a branch and a longer expression all add nodes, and not always lines."""
    plain = of(CODE)
    longer = of(CODE.replace("math.pi * radius**2", "math.pi * abs(radius) ** 2"))
    branch = of(CODE.replace("    return", "    if radius < 0:\n        return 0\n    return"))
    assert longer.over(plain)[0] == 0
    assert longer.over(plain)[1] > 0  # type: ignore[operator]
    assert branch.over(plain)[0] == 2
    assert branch.over(plain)[1] > longer.over(plain)[1]  # type: ignore[operator]
    assert plain.over(branch) == tuple(-n for n in branch.over(plain) if n is not None)


@pytest.mark.parametrize(
    "broken",
    [b"def f(:\n    pass\n", b"x = \x00\n", b"\xff\xfe not utf-8\n", b"(" * 5000, b"-" * 50000],
)
def test_a_broken_file_has_lines_and_no_nodes(broken: bytes) -> None:
    """A syntax error, zero bytes, other encodings, nesting too deep: never an exception."""
    found = of(broken)
    assert found.nodes is None
    assert found.lines >= 1
    assert found.over(of(CODE))[1] is None
    assert of(CODE).over(found)[1] is None


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("run.sh", "#!/bin/sh\n# a word\necho 1\n\n", 1),
        ("config.yaml", "# a word\nrate: 1\n  # more\n", 1),
        ("config.toml", "# a word\nrate = 1\n", 1),
        ("main.c", "#include <math.h>\n\nint x;\n", 2),
        ("score.txt", "# a heading\n\n1\n", 2),
        ("empty.txt", "", 0),
    ],
)
def test_of_other_files_only_lines_are_counted(name: str, text: str, lines: int) -> None:
    """A # begins a comment only where that is known."""
    assert of(text, name) == Size(lines, None)


def test_files_are_counted_together() -> None:
    """Lines add up; nodes are known when every file is Python."""
    both = size({"a.py": CODE.encode(), "b.py": b"x = 1\n"})
    assert both == Size(5, (of(CODE).nodes or 0) + (of("x = 1\n").nodes or 0))
    assert size({"a.py": CODE.encode(), "b.txt": b"x\n"}) == Size(5, None)
    assert size({"a.py": b"", "b.py": b""}) == Size(0, 2)  # two empty modules
    assert size({}).over(size({})) == (0, 0)
