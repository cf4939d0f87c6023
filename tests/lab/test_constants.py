"""Constants: what is read, what a range is, and that replacing touches nothing but the literal."""

from __future__ import annotations

import ast
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import AutoResearchError, ProposerError
from autoresearch.lab import constants
from autoresearch.lab.constants import Choices, ConstantError, Int, Linear, Log

LAB = '''\
"""A lab with "LR = 9  # [0..1]" in its docstring."""
import os

LR = 0.04        # matrix learning rate (Muon) [log 0.005..0.2]
WARMDOWN = 0.5   # share of the budget [0..1]
DEPTH = 2        # layers [int 1..8]
BATCH = 2**11    # tokens a step [1024 | 2048 | 4096]
ACT = "relu2"    # of the MLP [relu2 | gelu | silu]
SMEAR = False    # add the previous token's embedding [False | True]
BETAS = (0.8, 0.95)  # no range
DEVICE = os.environ.get("DEVICE", "cpu")  # [cpu | cuda]
NAME = "a # not a comment [1..2]"  # é à [B, T] of the shape [1 | 2]


def f():
    HIDDEN = 3   # [int 1..8]
    return HIDDEN
'''


def knob(line: str) -> constants.Knob | None:
    """The knob of a source of one constant."""
    (constant,) = constants.read(line).values()
    return constant.knob


def test_read_finds_the_literal_constants_of_the_module_only() -> None:
    """Names come in order; calls, function bodies and docstrings are left out."""
    names = list(constants.read(LAB))
    assert names == ["LR", "WARMDOWN", "DEPTH", "BATCH", "ACT", "SMEAR", "BETAS", "NAME"]


def test_read_knows_every_kind_of_range() -> None:
    """Log, linear, int and choices are distinguished; no range means no knob."""
    found = constants.read(LAB)
    assert found["LR"].knob == Log(0.005, 0.2)
    assert found["WARMDOWN"].knob == Linear(0, 1)
    assert found["DEPTH"].knob == Int(1, 8)
    assert found["BATCH"].knob == Choices((1024, 2048, 4096))
    assert found["ACT"].knob == Choices(("relu2", "gelu", "silu"))
    assert found["SMEAR"].knob == Choices((False, True))
    assert found["BETAS"].knob is None
    assert found["BATCH"].value == 2048


def test_a_hash_inside_a_string_is_no_comment() -> None:
    """The comment is what Python calls one, not what follows the first #."""
    found = constants.read(LAB)["NAME"]
    assert found.value == "a # not a comment [1..2]"
    assert found.knob == Choices(("1", "2"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A = 1.5  # first [1..2] then [log 1..4] then [B, T]", Log(1, 4)),
        ("A = 1.5  # [1..2", None),
        ("A = 1.5  # [2..1]", None),
        ("A = 1.5  # [log 0..1]", None),
        ("A = 1.5  # [log 1e-3..2**4]", Log(1e-3, 16)),
        ("A = 1.5  # [-1..1e999]", None),
        ("A = -1  # [-2.5..2]", Linear(-2.5, 2)),
        ("A = 1  # [int 0.5..3.5]", Int(1, 3)),
        ("A = 4  # [1..16]", Int(1, 16)),
        ("A = 4.0  # [1..16]", Linear(1, 16)),
        ("A = 4  # [log 1..16]", Log(1, 16, whole=True)),
        ("A = 'x'  # [1..2]", None),
        ("A = True  # [0..1]", None),
        ("A = 1  # [1 | ]", None),
        ("A = 1  # [1 | 1]", None),
        ("A = 1  # [1]", None),
        ("A = None  # [None | 1 | 2.5]", Choices((None, 1, 2.5))),
        ("A = (1, 2)  # [(1, 2) | (3, 4)]", Choices(((1, 2), (3, 4)))),
        ("A = 'pre-norm'  # ['pre-norm' | post-norm]", Choices(("pre-norm", "post-norm"))),
        ("A = 1;B = 2", None),
    ],
)
def test_ranges(line: str, expected: constants.Knob | None) -> None:
    """The last bracket that parses as a range is the range; nonsense is none."""
    assert constants.read(line)["A"].knob == expected


def test_a_comment_belongs_to_the_last_statement_of_its_line() -> None:
    """Of two statements on one line only the second has the range."""
    found = constants.read("A = 1; B = 2  # [int 1..4]\n")
    assert found["A"].knob is None
    assert found["B"].knob == Int(1, 4)


def test_an_annotated_assignment_counts() -> None:
    """A type annotation makes no difference."""
    assert knob("A: int = 2  # layers [int 1..8]") == Int(1, 8)


def test_a_name_assigned_twice_is_what_it_was_last() -> None:
    """The last assignment is the one read, and a computed one leaves no constant."""
    assert constants.read("A = 1\nA = 2\n")["A"].value == 2
    assert "A" not in constants.read("A = 1\nA = f()\n")


@pytest.mark.parametrize(
    "text", ["9**9**9", "1 << 10**6", "f()", "-'a'", "1 + 2", "B", "b'x'", "[*B]"]
)
def test_what_is_not_a_literal_is_not_read(text: str) -> None:
    """Computations other than products and bounded powers are not constants."""
    assert constants.read(f"A = {text}\n") == {}


def test_broken_source_is_an_error_with_file_and_line() -> None:
    """The error names the line where Python stopped parsing."""
    with pytest.raises(ProposerError, match=r"^train\.py:2: not valid Python: .*never closed"):
        constants.read("A = 1\nB = (\n", "train.py")


def test_a_null_byte_is_an_error_of_ours() -> None:
    """No source makes reading raise anything but ProposerError."""
    with pytest.raises(ProposerError, match=r"train\.py"):
        constants.read("A = 1\0\n", "train.py")


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("0.04", 0.052, "0.052"),
        ("0.04", 0.04, "0.04"),
        ("4.0e-2", 0.04, "4.0e-2"),
        ("3e-4", 0.00052, "5.2e-4"),
        ("0.1", 1e-05, "1e-5"),
        ("1.0", 2, "2.0"),
        ("2**17", 2**18, "2**18"),
        ("2 ** 17", 2**18, "2 ** 18"),
        ("1 << 4", 32, "1 << 5"),
        ("2**17", 100_000, "100000"),
        ("500_000", 250_000, "250_000"),
        ("-1", 3, "3"),
        ('"a"', "it's", '"it\'s"'),
        ("'a'", "b", "'b'"),
        ('"a"', 'say "b"', "'say \"b\"'"),
        ("True", False, "False"),
        ("1", None, "None"),
        ("(1, 2)", (1, 3), "(1, 3)"),
        ("(1, 2)", [4], "(4,)"),
        ("1, 2", (3,), "(3,)"),
        ("['a']", ["b", "c"], "['b', 'c']"),
        ("(1,  # one\n     2)", (1, 3), "(1,  # one\n     3)"),
        ("(0.5)", 0.25, "(0.25)"),
    ],
)
def test_replace_keeps_the_style(old: str, value: object, new: str) -> None:
    """Powers of two, exponents, quotes, underscores and brackets stay what they were."""
    assert constants.replace(f"A = {old}   # why\n", {"A": value}) == f"A = {new}   # why\n"


def test_replace_changes_several_and_nothing_else() -> None:
    """All other bytes stay: comments, columns, line endings, non-ASCII text."""
    source = "\ufeffÉ = 'é'; A = 1  # ü [int 1..4]\r\nB = 2.5\t# tab\r\n# end"
    changed = constants.replace(source, {"A": 3, "B": 0.5, "É": "ß"})
    assert changed == "\ufeffÉ = 'ß'; A = 3  # ü [int 1..4]\r\nB = 0.5\t# tab\r\n# end"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """A misspelt constant names its neighbour, and the error is both ours and a ValueError."""
    with pytest.raises(ConstantError, match=r"no constant DEPHT; did you mean DEPTH\?") as caught:
        constants.replace(LAB, {"DEPHT": 3})
    assert isinstance(caught.value, AutoResearchError)
    assert isinstance(caught.value, ValueError)


def test_a_computed_constant_is_not_replaced() -> None:
    """What stands there is shown, with its line."""
    with pytest.raises(ConstantError, match=r"train\.py:11: DEVICE is not a literal: .*environ"):
        constants.replace(LAB, {"DEVICE": "cpu"}, "train.py")


@pytest.mark.parametrize("value", [math.nan, math.inf, {}, b"x", (1, math.nan)])
def test_a_value_that_is_no_literal_is_refused(value: object) -> None:
    """Nothing is written that would not read back."""
    with pytest.raises(ConstantError, match=r"A cannot be"):
        constants.replace("A = 1\n", {"A": value})


scalars = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(max_size=12),
)
values = st.one_of(scalars, st.lists(scalars, max_size=4).map(tuple))


@settings(deadline=None)
@given(old=values, new=values, before=st.sampled_from(["", "é = 'ü'; ", "# ∞\r\n"]))
def test_what_is_written_reads_back(old: object, new: object, before: str) -> None:
    """Any literal may take any other's place, and only its own characters change."""
    source = f"{before}A = {old!r}  # [a | b]\nB = 1\n"
    span = constants.read(source)["A"].span
    changed = constants.replace(source, {"A": new})
    found = constants.read(changed)["A"]
    assert found.value == new
    assert changed[: span[0]] == source[: span[0]]
    assert changed[found.span[1] :] == source[span[1] :]
    assert ast.literal_eval(found.text) == new


@settings(deadline=None)
@given(value=values)
def test_a_value_replaced_by_itself_changes_nothing(value: object) -> None:
    """The diff of no change is empty."""
    source = f"A = {value!r}  # why\n"
    assert constants.replace(source, {"A": value}) == source


@settings(deadline=None)
@given(source=st.text(alphabet="AB=12.[]|#'\"\\ \n\r\x0c\té(),:*-", max_size=40))
def test_no_source_surprises_the_reader(source: str) -> None:
    """Text is read or refused with ProposerError, and every span holds its literal."""
    try:
        found = constants.read(source)
    except ProposerError:
        return
    for constant in found.values():
        assert source[slice(*constant.span)] == constant.text
