"""Ids, foreign text, and the hub's errors."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthub import validation
from agenthub.errors import BadInput, HubError, TooLarge, TooMany, of_status


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            validation.check_agent,
            ["a", "A.b-c_9", "x" * 63],
            ["", "-a", ".a", "a b", "a\n", "x" * 64],
        ),
        (validation.check_channel, ["results", "0-a_b"], ["", "A", "_a", "a.b", "a\n", "x" * 32]),
        (validation.check_project, ["main", "a-b"], ["", "..", "a/b", "A", "a_b", "-a", "x" * 40]),
        (validation.check_platform, ["H100", "M4-Max", "2x RTX 4090"], ["", " a", "<b>", "a\nb"]),
        (
            validation.check_hash,
            ["0123456789abcdef" * 2 + "0" * 8],
            ["", "a" * 39, "A" * 40, "a" * 41],
        ),
        (
            validation.check_abbreviation,
            ["abcdef0", "a" * 40],
            ["abcdef", "ABCDEF0", "-a", "a" * 41],
        ),
    ],
)
def test_ids(check: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    """What can be an id is given back, all else is a 400 that says what is allowed."""
    assert [check(name) for name in good] == good
    for name in bad:
        with pytest.raises(BadInput, match=r"it is \d"):
            check(name)


@given(st.text(), st.integers(1, 50))
def test_clean_text_shows_all_it_holds(text: str, limit: int) -> None:
    """No control, format or invisible character is left, and cleaning twice changes nothing."""
    kept = validation.clean(text)
    assert all(
        sign in "\n\t" or unicodedata.category(sign)[0] != "C" or sign >= "\ue000" for sign in kept
    )
    assert validation.clean(kept) == kept
    assert len(validation.clean(text, limit)) <= limit
    line = validation.clean_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    kept.encode()


def test_what_hides_is_removed() -> None:
    """Bidi, zero-width, tags, fillers, escapes and towers of accents go; words stay."""
    hidden = "\u202e\u2066\u200b\u200d\ufeff\u00ad\u3164\u2800\ufe0f\U000e0041\U000e0101\x1b\x00"
    assert validation.clean(f"a{hidden}b") == "ab"
    assert validation.clean("é ü 漢字 عربى 🙂 a\tb\r\nc\u2028d") == "é ü 漢字 عربى 🙂 a\tb\nc\nd"
    assert validation.clean("z" + "\u0301" * 50) == "z" + "\u0301" * 4
    assert validation.clean_line(" a \n\n b\t\tc ", 9) == "a b c"
    assert validation.clean_line("abcdefgh", 4) == "abc…"


def test_text_for_storing() -> None:
    """Bytes are counted before, emptiness after cleaning."""
    assert validation.check_text("hi\u200b", "The post", 10) == "hi"
    with pytest.raises(TooLarge, match="The post has 12 bytes; at most 10"):
        validation.check_text("é" * 6, "The post", 10)
    for empty in ("", " \n", "\u200b\u200b"):
        with pytest.raises(BadInput, match="The post is empty"):
            validation.check_text(empty, "The post", 10)


def test_envelopes() -> None:
    """An envelope tells author, trust, length and hash of what it holds a part of."""
    envelope = validation.enveloped("ann", "unverified", "hello\u200b world", 6)
    assert (envelope.text, envelope.length, envelope.truncated) == ("hello…", 11, True)
    assert json.loads(json.dumps(envelope.as_json()))["author"] == "ann"
    assert len(envelope.sha256) == 64


def test_errors_have_a_status_and_a_body() -> None:
    """Each class is its status; a client makes the same one of what it hears."""
    error = BadInput("no such shape", hash="abc")
    assert (error.status, str(error)) == (400, "no such shape")
    assert error.body() == {"error": "no such shape", "hash": "abc"}
    assert TooMany("slow down", retry_after=7).body()["retry_after"] == 7
    for status in (400, 401, 403, 404, 409, 413, 429, 503):
        heard = of_status(status, "x", detail=1)
        assert type(heard) is not HubError
        assert (heard.status, heard.details["detail"]) == (status, 1)
    assert of_status(418, "x").status == 418
    assert of_status(429, "x", retry_after="soon").details["retry_after"] == 1
