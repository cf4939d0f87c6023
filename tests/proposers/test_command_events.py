"""What agents print: notes, costs and errors, in the form of each; and all that is no form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_streams import ERRORS, NOTE, PROGRAMS, TOKENS, USD, WITH_USD, bad, good
from autoresearch.proposers.command.events import AgentOutput, LiveLog, read_output
from autoresearch.proposers.command.failures import error_lines, kind_of, kind_of_lines, retry_after
from autoresearch.proposers.command.presets import load_presets
from autoresearch.proposers.command.watch_agent import Meter

PATH = "total_cost_usd"


def heard(agent: str, text: str | bytes, folder: Path) -> AgentOutput:
    """What is heard of an agent that printed this."""
    log = folder / "log"
    log.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_output(load_presets()[agent], log)


@pytest.mark.parametrize("agent", PROGRAMS)
def test_a_success_is_read_in_every_form(agent: str, tmp_path: Path) -> None:
    """The note is the marked line, cost and tokens are complete, and there is no error."""
    found = heard(agent, good(agent), tmp_path)
    assert (found.note, found.error) == (NOTE, "")
    assert found.tokens == TOKENS
    assert found.usd == (USD if agent in WITH_USD else 0.0)
    assert found.cost_known == (agent in WITH_USD)


@pytest.mark.parametrize("agent", PROGRAMS)
def test_a_log_is_read_while_it_grows(agent: str, tmp_path: Path) -> None:
    """Cost and tokens are those of the whole log, however it arrives; a last line is known."""
    log, whole = tmp_path / "log", good(agent).encode()
    live = LiveLog(load_presets()[agent], log)
    assert (live.read().usd, live.last) == (0.0, "")
    for at in range(0, len(whole), 100):
        with log.open("ab") as stream:
            stream.write(whole[at : at + 100])
        found = live.read()
    known = heard(agent, whole, tmp_path)
    if load_presets()[agent].format != "json":  # one object, which is read in the end
        assert (found.usd, found.tokens) == (known.usd, known.tokens)
    assert live.last
    assert 0 <= live.quiet < 3600


def test_the_last_thing_of_an_agent_is_its_words_or_the_kind_of_its_event(tmp_path: Path) -> None:
    """Whatever the form of an event; what is no event is shown as it is."""
    log = tmp_path / "log"
    live = LiveLog(load_presets()["claude"], log)
    words = {"type": "assistant", "message": {"content": [{"type": "text", "text": "a\nhalve it"}]}}
    for line, last in (
        ({"type": "system", "session_id": "x"}, "(system)"),
        (words, "halve it"),
        ({"type": "tool", "input": {"command": "ls -l"}}, "ls -l"),
        ([1, 2], "[1, 2]"),
        ({"type": "autoresearch", "exit_code": 0}, "[1, 2]"),
        ("plain", '"plain"'),
    ):
        with log.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        live.read()
        assert live.last == last


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("agent", PROGRAMS)
def test_an_error_is_read_in_every_form(agent: str, error: str, tmp_path: Path) -> None:
    """The failure has its kind, and the wait that the server requested."""
    _, _, kind, after = ERRORS[error]
    found = heard(agent, bad(agent, error), tmp_path)
    assert found.error
    assert kind_of(found.error, found.code) == kind
    assert retry_after(found.error) == after


@pytest.mark.parametrize("agent", PROGRAMS)
def test_what_is_no_event_is_no_error(agent: str, tmp_path: Path) -> None:
    """Broken lines, other types, bytes that are no text: nothing is raised, nothing invented."""
    junk = (
        b'{"type": "result"\n\xff\xfe\n[1, 2]\n{"type": 7}\n{"type": null, "message": 3}\n"x"\n{}\n'
    )
    deep = b"{" + b'"a":{' * 5000 + b"\n"
    found = heard(agent, junk + deep, tmp_path)
    assert (found.usd, found.tokens, found.error) == (0.0, 0, "")


NO_COSTS = [
    -5, "free", None, True, float("nan"), float("inf"), [1], 1e300, 10**400,
    "-1", "0,9", "1e999", "",
]  # fmt: skip


@pytest.mark.parametrize("cost", NO_COSTS)
def test_a_cost_that_is_none_is_unknown(cost: object, tmp_path: Path) -> None:
    """The ledger can take whatever an agent claims, and unknown is not nothing."""
    event = {"type": "result", "total_cost_usd": cost, "usage": {"input_tokens": cost}}
    found = heard("claude", json.dumps(event) + "\n", tmp_path)
    assert (found.usd, found.tokens, found.cost_known) == (0.0, 0, False)
    both = json.dumps(event) + "\n" + json.dumps({"type": "result", "total_cost_usd": 1}) + "\n"
    assert heard("claude", both, tmp_path).cost_known is (cost is None)


@pytest.mark.parametrize("cost", [0, 0.9, "0.9", "$0.90", " 0.9 ", "9e-1", "1,000.5", "2.1k"])
def test_a_cost_may_be_a_text(cost: object, tmp_path: Path) -> None:
    """The reader of the bill and the reader of the session's limit are one."""
    event = json.dumps({"type": "result", "total_cost_usd": cost})
    found = heard("claude", event + "\n", tmp_path)
    wanted = {0: 0, "1,000.5": 1000.5, "2.1k": 2100}.get(cost, 0.9)  # type: ignore[call-overload]
    assert (found.usd, found.cost_known) == (pytest.approx(wanted), True)
    rules = [{"where": {"type": "result"}, "unless": {}, "match": "", "turn": True, "usd": PATH}]
    meter = Meter({"counted": rules, "usd": 0.5})
    meter.read(event.encode())
    assert (meter.usd, bool(meter.over())) == (pytest.approx(wanted), cost != 0)


def test_a_meter_reads_lists_and_lines_of_text() -> None:
    """What is billed ends a session, too, whatever the form of the output."""
    rule = {"where": {}, "unless": {"skip": True}, "match": "", "turn": False, "usd": "costs.*.usd"}
    line = {"where": {}, "unless": {}, "match": r"Cost: \$(?P<usd>\S+)", "turn": False, "usd": ""}
    meter = Meter({"counted": [rule, line], "usd": 1})
    meter.read(b'{"costs": [{"usd": 0.5}, {"usd": "0.25"}]}\n{"skip": true, "costs": [{"usd": 9}]}')
    meter.read(b"Cost: $0.50 this message\n")
    assert meter.usd == 1.25
    assert "$1.25" in meter.over()


def test_a_tool_that_prints_an_error_is_no_error_of_the_agent(tmp_path: Path) -> None:
    """Only the fields that a preset names are believed."""
    item = {"type": "command_execution", "aggregated_output": "error: status 401 unauthorized"}
    text = json.dumps({"type": "item.completed", "item": item}) + "\n" + good("codex")
    assert heard("codex", text, tmp_path).error == ""


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Of 64 MB on one line the beginning is looked at, and what follows it is still read."""
    log = tmp_path / "log"
    with log.open("wb") as stream:
        for _ in range(64):
            stream.write(b"x" * 2**20)
        stream.write(b"\n" + good("claude").encode())
    found = read_output(load_presets()["claude"], log)
    assert (found.note, found.usd) == (NOTE, USD)


def test_of_too_many_lines_the_first_and_the_last_are_read(tmp_path: Path) -> None:
    """Millions of events take seconds, and how it ended is still known."""
    cost = json.dumps({"type": "result", "total_cost_usd": 1.0}) + "\n"
    found = heard("claude", cost + "{}\n" * 2_000_000 + good("claude"), tmp_path)
    assert (found.note, found.usd) == (NOTE, 1.0 + USD)


def test_a_missing_log_is_silence(tmp_path: Path) -> None:
    """There is nothing to hear, and that is no crash of ours."""
    assert read_output(load_presets()["codex"], tmp_path / "none") == AgentOutput()


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("NOTE: a\nmore\n**NOTE: b**\n", "b"),
        ("\n\n## Changed the rate\nand more", "Changed the rate"),
        ("", ""),
        ("note: lower case", "lower case"),
    ],
)
def test_the_note_is_one_line_of_the_last_words(said: str, note: str) -> None:
    """The last marked line, else the first line with text, without decoration."""
    assert AgentOutput(words=said).note == note


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("retry-after: 30", 30.0),
        ('"retryDelay": "34s"', 34.0),
        ("Please retry in 12.5s", 12.5),
        ("try again in 250ms", 0.25),
        ("try again in 5 minutes", 300.0),
        ("limit resets in 2 hours", 7200.0),
        ("try again in 90 days", 86400.0),
        ("nothing of the kind", None),
    ],
)
def test_what_is_asked_for_is_read_in_its_unit(words: str, seconds: float | None) -> None:
    """Seconds, at most a day."""
    assert retry_after(words) == seconds


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        ("connect ECONNREFUSED 127.0.0.1:8080", None, "busy"),
        ("error_max_turns", None, "late"),
        ("You've hit your usage limit. Try again in 3 hours.", None, "busy"),
        ("insufficient_quota: check your plan and billing details", 429, "stop"),
        ("There's an issue with the selected model. It may not exist", 404, "stop"),
        ("something odd", 503, "busy"),
        ("something odd", None, None),
    ],
)
def test_kinds_by_words_and_status(words: str, code: int | None, kind: str | None) -> None:
    """What helps follows from both; unknown words say nothing."""
    assert kind_of(words, code) == kind


@pytest.mark.parametrize(
    "said",
    [
        "I would make the network one layer deeper. Shall I continue?",
        "The residual connection deserves no credit here. Should I try again?",
        "512 units wide, the safety margin is gone; please log in to see the API key.",
        "cat: data.bin: No such file or directory",
        "bash: rg: command not found",
        "ls: cannot open directory '.': Permission denied",
        "The sequence is too long for a learning rate limit of 3 of 5",
        "Error handling: the model now waits for the network",
        "Terror: the network is unavailable",
    ],
)
@pytest.mark.parametrize(("spoken", "code"), [(True, 0), (True, 1), (False, 0)])
def test_what_a_model_or_a_tool_says_is_no_failure(said: str, spoken: bool, code: int) -> None:
    """Even if it uses an error's words: an agent that asks and edits nothing is `empty`."""
    assert error_lines([said], spoken, code) == ""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Error: fetch failed: ECONNREFUSED", "busy"),
        ("2026-11-21T10:00:00Z ERROR codex_core: stream disconnected", "busy"),
        ("litellm.exceptions.RateLimitError: try again in 20 s", "busy"),
        ("openai.AuthenticationError: Incorrect API key provided", "stop"),
        ("  API Error: 401 unauthorized", "stop"),
        ("429 Too Many Requests", "busy"),
        ("Failed to authenticate: invalid key", "stop"),
        ("error: this request exceeds the context window limit", "refusal"),
        ("[API Error: 503 overloaded]", "busy"),
        ("goose: error: 401 unauthorized", "stop"),
        ("Invalid API key · Please run /login", "stop"),
        ("Unauthorized", "stop"),
        ("Rate limit exceeded, try again in 20s", "busy"),
        ("You've hit your usage limit. Try again in 3 days", "busy"),
        ("Claude AI usage limit reached|1700000000", "busy"),
        ("Request failed: 429 Too Many Requests", "busy"),
    ],
)
def test_a_programs_complaint_is_found_among_what_a_model_says(line: str, kind: str) -> None:
    """A person is called only when the program ended badly, too."""
    told = error_lines(["I would make the network deeper.", line], True, 1)
    assert told == line
    assert kind_of_lines(told, 1) == kind
    assert kind_of_lines(told, 0) == (None if kind == "stop" else kind)


def test_the_last_line_of_a_program_that_ended_well_is_its_models() -> None:
    """Without the form of an error it is a talk about one."""
    assert error_lines(["Rate limit exceeded, try again in 20s"], True, 0) == ""


def test_all_that_a_program_printed_counts_where_its_model_speaks_in_events() -> None:
    """And it ended badly."""
    assert error_lines(["Not logged in"], False, 1) == "Not logged in"
    assert kind_of_lines("Not logged in", 1) == "stop"
