"""Source text: what is the same code, in every version of Python, and no text that does harm."""

from __future__ import annotations

import ast
import contextlib
import io
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.lab import constants, source
from autoresearch.lab.source import LONGEST, MOST, SourceError, canonical, parse
from autoresearch.proposers import ProposerError
from autoresearch.store.simplicity import fingerprint, size

SRC = Path(source.__file__).parents[2]
CODE = '''"""What it does."""
import math

RATE = 0.5  # of learning [0.1..0.9]


def area(radius, names=("a", "b")):
    """The area."""
    if radius < 0:
        raise ValueError(f"{radius!r:>{4}} is below {0}")
    return {
        "area": math.pi * radius ** 2,
    }
'''
SAME = [
    CODE.replace("\n", "\r\n"),
    CODE.replace("  # of learning [0.1..0.9]", ""),
    CODE.replace("    ", "\t"),
    CODE.replace("\n\n", "\n \t\n# a word\n\n"),
    CODE.replace("radius ** 2", "radius**2").replace("radius, names", "radius , names"),
    CODE.replace('("a", "b")', "(\n  'a',  # first\n 'b')"),
    CODE.replace("RATE = 0.5", "RATE = \\\n  0.5"),
    CODE.replace("RATE = 0.5", "RATE = (\n  0.5\n)"),
    CODE.replace("return {", "return ({").replace("    }\n", "    })\n"),
    "\ufeff" + CODE,
    CODE.rstrip("\n"),
    "# -*- coding: utf-8 -*-\n" + CODE,
]
OTHER = [
    CODE.replace("What it does", "What it did"),
    CODE.replace("The area.", ""),
    CODE.replace("RATE = 0.5", "RATE = 0.50001"),
    CODE.replace('"b"', '"b "'),
    CODE.replace(">{4}", ">{5}"),
    CODE.replace("below {0}", "below  {0}"),
    CODE.replace("below {0}", "below # {0}"),
    CODE.replace("        raise", "    raise"),
    CODE.replace('("a", "b")', '("ab")'),
    CODE.replace("radius < 0", "radius <- 0"),
    CODE + "x = 1e-5\n",
    CODE + "x = 1e - 5\n",
    "# -*- coding: latin-1 -*-\n" + CODE,
]


def mark(text: str | bytes, name: str = "train.py") -> str:
    """The fingerprint of one file."""
    return fingerprint({name: text if isinstance(text, bytes) else text.encode()})


@pytest.mark.parametrize("text", SAME)
def test_comments_and_layout_do_not_count(text: str) -> None:
    """Two programs that no run can tell apart are one."""
    assert ast.dump(ast.parse(text.encode())) == ast.dump(ast.parse(CODE))
    assert mark(text) == mark(CODE)


def test_all_else_counts() -> None:
    """A docstring, which a program may print; a value, a text, a block's end, a broken number."""
    marks = [mark(text) for text in (CODE, *OTHER)]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('x = f"{d["a b"]}"\n', 'x = f"{d["a  b"]}"\n'),
        ('x = f"{d["# a"]}"\n', 'x = f"{d["# b"]}"\n'),
        ("x = f'{a:\"<3} # b'\n", "x = f'{a:\"<3} # c'\n"),
        ("x = rf'\\{a} # b'\n", "x = rf'\\{a} # c'\n"),
        ("x = '\\\\' # b'\n", "x = '\\' # b'\n"),
        ("x = a - = 1\n", "x = a -= 1\n"),
        ('x = f "a"\n', 'x = f"a"\n'),
        ("if a:\n  b\nc\n", "if a:\n  b\n  c\n"),
        ("a\nb\n", "a b\n"),
        ("x = '''a\n b'''\n", "x = '''a\nb'''\n"),
        ("x = 'a\\\n b'\n", "x = 'a\\\nb'\n"),
        ("if a:\n\tb\n        c\n", "if a:\n\tb\n\tc\n"),
        ("x = 'it\\'s'\n", "x = 'its'\n"),
        ("x = (1,)\n", "x = 1,\n"),
        ("x = (yield)\n", "x = yield\n"),
        ("x = (*a), b\n", "x = *a, b\n"),
        ("x = (a) + b\n", "x = a + b\n"),
        ("x = ()\n", "x =\n"),
        ("f(k=(a for a in b))\n", "f(k=a for a in b)\n"),
        ("def f((a)): pass\n", "def f(a): pass\n"),
    ],
)
def test_what_could_differ_is_not_the_same(one: str, other: str) -> None:
    """Where a lexer could be mistaken, two texts are two programs, valid or not."""
    assert mark(one) != mark(other)


def test_other_files_count_byte_for_byte() -> None:
    """Nobody knows what reads them: a blank or a line end may matter."""
    assert mark("rate: 1\n", "a.yaml") != mark("rate: 1 \n", "a.yaml")
    assert mark("rate: 1\n", "a.yaml") != mark("rate: 1\r\n", "a.yaml")
    assert mark("x = 1\n", "a.yaml") != mark("x = 1\n", "a.py")


NEWER = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13, 14)]
NEWER += map(str, Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python"))


def runs(python: str) -> bool:
    """Whether an interpreter is really there; pyenv has scripts for those that are not chosen."""
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


KNOWN = "b3a7a3d5"  # of CODE; a change is a new version of the fingerprint


def test_every_version_of_python_makes_the_same_fingerprint() -> None:
    """What one version tried another one does not try again; those on this machine are asked."""
    words = "import sys; sys.path.insert(0, sys.argv[1])\n"
    words += "from autoresearch.store.simplicity import fingerprint\n"
    words += "for text in eval(sys.stdin.read()): print(fingerprint({'train.py': text}))"
    texts = [text.encode() for text in (CODE, *SAME, *OTHER)]
    for python in filter(runs, {sys.executable, *filter(None, NEWER)}):
        done = subprocess.run(
            [python, "-c", words, str(SRC)], input=repr(texts).encode(), capture_output=True
        )
        assert done.stdout.decode().split() == list(map(mark, texts)), (python, done.stderr)


def test_the_fingerprint_stays_as_it_is() -> None:
    """Ledgers hold it: a change of this value is a new FINGERPRINT."""
    assert mark(CODE).startswith(KNOWN)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tokens of f-strings differ since 3.12")
def test_our_tokens_are_pythons() -> None:
    """In every file of ours."""
    kinds = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER)
    layout = (*kinds, tokenize.INDENT, tokenize.DEDENT)
    for path in sorted((SRC / "autoresearch").rglob("*.py"))[:60]:
        tokens = tokenize.tokenize(io.BytesIO(path.read_bytes()).readline)
        theirs = [token.string for token in tokens if token.type not in layout]
        ours = [token for token in source._Reader(path.read_text()).tokens() if token[0] != "\0"]
        assert ours == [source._with_one_quote(token) for token in theirs], path


# ---- hostile text ------------------------------------------------------------------------------

HOSTILE = {
    "hex": b"MAGIC = 0x" + b"f" * 4000 + b"\n",
    "hex in a range": b"X = 1  # [0..0x" + b"f" * 4000 + b"]\n",
    "product": b"X = 1.0" + b" * 2**120" * 200 + b"\n",
    "range": b"X = 1  # [0.." + b"-" * 50_000 + b"1]\n",
    "choices": b"X = 1  # [1 | " + b"(" * 5000 + b"]\n",
    "digits": b"X = " + b"9" * 5000 + b"\n",
    "brackets": b"x = " + b"(" * 20_000 + b"\n",
    "closed brackets": b"x = " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "signs": b"x = " + b"-" * 20_000 + b"1\n",
    "sums": b"x = 1" + b"+1" * 20_000 + b"\n",
    "dots": b"x = a" + b".b" * 20_000 + b"\n",
    "elif": b"if a:\n pass\n" + b"elif a:\n pass\n" * 5000,
    "zero": b"x = 1\0\n",
    "surrogates": b"x = '\xed\xa0\x80'\n",
    "latin": b"x = '\xe9'\n",
    "utf-16": "x = 1\n".encode("utf-16"),
    "f-string": b'x = f"' + b"{a}" * 20_000 + b'"\n',
    "nested f-strings": b"x = " + b'f"{' * 5000 + b'}"' * 5000 + b"\n",
    "open f-string": b"x = f'{" * 5000,
    "open string": b"'" * 50_001,
    "joints": b"\\" * 50_000 + b"\n" + b"\\\n" * 5000,
    "large": b"x = 1\n" * (MOST // 6 + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_does_harm(name: str) -> None:
    """Fingerprint, size, constants and numbers: an answer or ProposerError, and nothing else."""
    content = HOSTILE[name]
    assert mark(content) == mark(content) != mark(content + b"x")
    assert size({"train.py": content}).lines >= 1
    text = content.decode("utf-8", "surrogateescape")
    for read in (constants.read, constants.numbers):
        with contextlib.suppress(ProposerError):
            read(text)


def test_an_f_string_that_would_take_long_is_not_parsed() -> None:
    """Its tree costs Python 3.11 the square of its length; the error names line and limit."""
    with pytest.raises(SourceError, match=f"{LONGEST:,}") as caught:
        parse("x = 1\n" + HOSTILE["f-string"].decode())
    assert caught.value.line == 2
    parse("# " + "x" * 2 * LONGEST + "\nx = f'{a}'\n")


@given(st.text(st.sampled_from("ab1 \t\n\r\\'\"{}[]()#:=,.-fr\0é")))
def test_any_text_has_a_fingerprint(text: str) -> None:
    """And one that Python takes keeps its meaning in our tokens: no two are taken for one."""
    code = canonical(text.encode())
    if code is not None:
        again = canonical((text + "\n# more\n").encode())
        assert again == code or text.rstrip(" \t\n\r\f").endswith("\\")
