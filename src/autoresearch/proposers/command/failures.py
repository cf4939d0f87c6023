"""Classifies an agent's error by its words and its HTTP status."""

from __future__ import annotations

import re
from collections.abc import Sequence

from autoresearch.proposers import Kind

LONGEST = 24 * 3600.0  # seconds that an error may request to wait at most

# Words of many CLIs and APIs. The first pattern that matches decides, so the order matters.
_WORDS: tuple[tuple[Kind, str], ...] = (
    (
        "late",
        r"max_turns|max_budget_usd|max_turn_requests|LimitsExceeded|TimeExceeded|turn limit"
        r"|aborted$|cancelled",
    ),
    (
        "refusal",
        r"refusal|refused to (?:go|answer|help|comply|respond)|content.?(?:policy|filter)|safety"
        r"|PROHIBITED_CONTENT|usage policy|too (?:long|large)"
        r"|(?:context|token).{0,20}(?:length|window|limit).{0,20}(?:exceed|too long)"
        r"|exceeds the .{0,40}(?:token|context)|maximum context|ContextWindowExceeded"
        r"|context_length",
    ),
    (
        "stop",
        r"api.?key|unauthorized|authenticat|not logged in|log ?in|forbidden"
        r"|permission.?(?:denied|error)|billing|credit|insufficient.?(?:quota|funds|balance)|payment"
        r"|spend(?:ing)?.?(?:cap|limit)|not_found_error"
        r"|model.{0,80}(?:not (?:found|exist|supported)|does not exist|may not exist)"
        r"|command not found|no such file|cannot start",
    ),
    (
        "busy",
        r"rate.?limit|too many requests|overloaded|unavailable|RESOURCE_EXHAUSTED|usage limit|quota"
        r"|internal.?server|server.?error|bad gateway|timed? ?out|network|connection|fetch failed"
        r"|ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|stream.{0,20}disconnect|try again",
    ),
)
_PATTERNS = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _WORDS)
_STATUS = re.compile(
    r"(?:status|code|error|HTTP)\W{0,4}(?:code\W{0,3})?([45]\d\d)\b|^\W*([45]\d\d)\b", re.IGNORECASE
)
_AFTER = re.compile(
    r"(?:retry|try again|retry_?delay|reset)[^\d\n]{0,30}?(\d+(?:\.\d+)?)\s*"
    r"(ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)?\b",
    re.IGNORECASE,
)
# How programs begin a line that reports an error; a model's text begins differently.
_BEGIN = r"^(?:[\d\WTZ]*?|[\w.-]+: )"
_ERROR_LINE = re.compile(
    _BEGIN + r"(?<![A-Za-z])(?:API )?"
    r"(?:(?:\w+\.)*\w*(?:Error|Exception)(?:\W*$|\W*:|\W+\d)|ERROR(?:\W*:|\W+[\w:]+:|\W*$)"
    r"|(?i:error|fatal):|(?i:HTTP|status)\W+(?:code\W+)?[45]\d\d"
    r"|[45]\d\d (?i:too many|service|bad gateway|gateway|internal|unauthorized|forbidden|payment)"
    r"|(?i:failed to (?:authenticate|connect|fetch|reach|log)|cannot (?:connect|reach)))"
)
# How the last line of a program that failed may begin besides.
_LAST_LINE = re.compile(
    _BEGIN + r"(?:(?:invalid|incorrect|missing) api.?key|unauthorized|not logged in"
    r"|rate limit (?:exceeded|reached)|.{0,20}\busage limit|request failed|quota exceeded"
    r"|insufficient|authentication|connection (?:error|refused|reset|failed)|overloaded)",
    re.IGNORECASE,
)
SHORT = 120  # characters of such a last line at most
_UNITS = {"ms": 0.001, "mi": 60.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def kind_of(words: str, code: int | None = None) -> Kind | None:
    """The kind of an error, or None when neither its words nor its status are known."""
    code = code or _status(words)
    by_words = next((kind for kind, pattern in _PATTERNS if pattern.search(words)), None)
    if by_words in ("late", "refusal"):
        return by_words
    if by_words == "stop" and retry_after(words) is None and code not in (429, *range(500, 600)):
        return "stop"
    if code == 429 and re.search(r"billing|credit|insufficient|spend", words, re.IGNORECASE):
        return "stop"  # a rate limit that waiting does not lift
    return _by_code(code) or ("busy" if by_words == "stop" else by_words)


def error_lines(lines: Sequence[str], spoken: bool, exit_code: int | None) -> str:
    """The lines in which a program reports an error, as opposed to its model's or tools' text.

    `spoken`: the program prints its model's text among its own lines. Then, or after exit code 0,
    only lines in the form of an error count. After another exit code all lines count, or for a
    `spoken` program its last line, if that names an error.
    """
    found = [line for line in lines if (exit_code and not spoken) or _ERROR_LINE.match(line)]
    last = next(iter(list(lines)[-1:]), "")
    if exit_code and not found and len(last) < SHORT and _LAST_LINE.match(last):
        found = [last]
    return "\n".join(found)


def kind_of_lines(lines: str, exit_code: int | None) -> Kind | None:
    """The kind of such error lines; `stop` only when the program failed."""
    kind = kind_of(lines)
    return None if kind == "stop" and not exit_code else kind


def retry_after(words: str) -> float | None:
    """Seconds after which an error says to retry, or None."""
    found = _AFTER.search(words)
    if found is None:
        return None
    unit = (found[2] or "s").lower()
    factor = _UNITS[
        "ms"
        if unit in ("ms", "millisecond", "milliseconds")
        else unit[:2]
        if unit[:2] == "mi"
        else unit[0]
    ]
    return min(float(found[1]) * factor, LONGEST)


def _by_code(code: int | None) -> Kind | None:
    if code is None:
        return None
    if code in (401, 402, 403, 404):
        return "stop"
    if code in (408, 409, 425, 429) or code >= 500:
        return "busy"
    return "refusal" if code in (400, 413, 422) else None


def _status(words: str) -> int | None:
    found = _STATUS.search(words)
    return int(found[1] or found[2]) if found else None
