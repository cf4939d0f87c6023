"""One call to a model: kinds of failures, costs, and that the key is not leaked."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from email.utils import formatdate
from pathlib import Path

import pytest

from autoresearch.errors import ProposerError
from autoresearch.proposers import ProposalFailed
from autoresearch.proposers.llm import client as llm_client
from autoresearch.proposers.llm import prices
from autoresearch.proposers.llm.client import Answer, Client
from autoresearch.proposers.llm.failures import retry_after
from autoresearch.proposers.llm.settings import KEY_OF, LLMSettings, from_environment
from llm_server import KEY, KEY_ENV, loopback, settings
from model_server import (
    ModelServer,
    Reply,
    cut,
    drops,
    fails,
    filtered,
    garbled,
    hangs,
    huge,
    refuses,
    says,
)

pytest.importorskip("openai", reason="needs the extra llm: openai is not installed")

HELLO = [{"role": "user", "content": "hello"}]
CAP = 0.25


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)


def ask(reply: Reply, **more: float | str) -> Answer:
    """One call to a server that gives this reply."""
    with ModelServer([reply]) as server, Client(settings(server.url, **more)) as client:  # type: ignore[arg-type]
        return client.ask(HELLO)


def failure(reply: Reply, **more: float | str) -> ProposalFailed:
    """The failure of one call; the server got one request, and the key is in no message."""
    with ModelServer([reply, says("asked twice")]) as server:
        with (
            Client(settings(server.url, **more)) as client,  # type: ignore[arg-type]
            pytest.raises(ProposalFailed) as raised,
        ):
            client.ask(HELLO)
        assert len(server.requests) == 1
    told = "".join(traceback.format_exception(raised.value))
    assert KEY not in told
    return raised.value


# ---- answers -----------------------------------------------------------------------------------


def test_an_answer_has_text_cost_and_tokens() -> None:
    """The key goes into its header, the limit of tokens into the body."""
    with ModelServer([says("hi")]) as server, Client(settings(server.url)) as client:
        assert client.ask(HELLO) == Answer("hi", CAP, 150, cut=False, priced=False)
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == "scripted-1"
    assert request.body["max_tokens"] == 1000
    assert not request.stream


def test_openai_is_told_the_limit_by_its_newer_name() -> None:
    """Its models refuse the old name, and other servers do not know the new one."""
    assert llm_client._limit_name("https://api.openai.com/v1") == "max_completion_tokens"
    assert llm_client._limit_name("http://127.0.0.1:11434/v1") == "max_tokens"
    assert llm_client._limit_name("https://evil.test/api.openai.com") == "max_tokens"


def test_a_cut_answer_is_marked_and_thoughts_are_left_out() -> None:
    """A reasoning model's thoughts are not part of its answer."""
    assert ask(cut("half a")).cut
    assert ask(says("<think>\n<<<<<<< SEARCH\n</think>\nthe edit")).text == "\nthe edit"


def test_half_a_character_is_replaced() -> None:
    """JSON can hold what no file can."""
    body = rb'{"choices": [{"message": {"content": "a\ud800b"}, "finish_reason": "stop"}]}'
    assert ask(garbled(body)).text == "a?b"


def test_content_in_parts_is_put_together() -> None:
    """Some servers send a list."""
    body = b'{"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": 1}]}}]}'
    assert ask(garbled(body)).text == "a"


# ---- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_and_names_its_variable(status: int) -> None:
    """A person is needed, and knows what to set."""
    failed = failure(fails(status, f"Incorrect API key provided: {KEY}"))
    assert (failed.kind, failed.cost_usd) == ("stop", 0.0)
    assert f"Check the key in {KEY_ENV}." in str(failed)
    assert "Incorrect API key provided: [key]" in str(failed)


@pytest.mark.parametrize(
    "reply", [fails(402, "pay"), fails(429, "You exceeded your quota", code="insufficient_quota")]
)
def test_an_empty_account_stops(reply: Reply) -> None:
    """Waiting does not fill it, even where the status is that of a rate limit."""
    failed = failure(reply)
    assert failed.kind == "stop"
    assert f"account behind {KEY_ENV} has no credit" in str(failed)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_a_busy_server_says_when_to_come_back(status: int) -> None:
    """Without a header there is no time; the client itself does not retry."""
    failed = failure(fails(status, retry_after=7))
    assert (failed.kind, failed.retry_after, failed.cost_usd) == ("busy", 7.0, 0.0)
    assert failure(fails(status)).retry_after is None


def test_retry_after_in_all_its_forms() -> None:
    """Seconds, milliseconds, a date; nonsense is nothing, the past is now."""
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    later = retry_after({"retry-after": formatdate(time.time() + 3600, usegmt=True)})
    assert later is not None
    assert 3000 < later <= 3600
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for nonsense in ("", "soon", "nan", "inf"):
        assert retry_after({"retry-after": nonsense}) is None
    assert retry_after({"retry-after": "-3"}) == 0.0


@pytest.mark.parametrize(
    "reply",
    [
        refuses(),
        filtered(),
        fails(400, "prompt triggered the policy", code="content_filter"),
        fails(403, "input was flagged"),
    ],
)
def test_a_refusal_is_one(reply: Reply) -> None:
    """In its own field, by a filter, or as an error."""
    assert failure(reply).kind == "refusal"


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_request_that_is_wrong_stops(status: int) -> None:
    """A model's name or a context that is too long is a person's to change."""
    failed = failure(fails(status, "no such model"))
    assert failed.kind == "stop"
    assert "no such model. " in str(failed)
    assert "'scripted-1'" in str(failed)


@pytest.mark.parametrize(
    "reply",
    [
        garbled(),
        garbled(b"\xff\xfe not text"),
        garbled(b"[" * 100_000),
        garbled(b"[]"),
        garbled(b"{}"),
        garbled(b'{"choices": []}'),
        garbled(b'{"choices": [7]}'),
        garbled(b'{"choices": "x"}'),
        garbled(b'{"choices": [{"message": 3}]}'),
        garbled(b'{"choices": [{"message": {"content": {"a": 1}}}]}'),
        says(""),
        says(" \n"),
        garbled(b""),
    ],
)
def test_a_malformed_or_empty_reply_is_empty_and_costs_the_cap(reply: Reply) -> None:
    """Another try may help; the cost is unknown."""
    failed = failure(reply)
    assert (failed.kind, failed.cost_usd) == ("empty", CAP)


def test_a_reply_of_reasoning_alone_says_what_to_raise() -> None:
    """All tokens were used before any text was sent."""
    assert "raise AUTORESEARCH_LLM_MAX_TOKENS" in str(failure(cut("")))


def test_an_error_inside_a_good_status_counts_as_its_own() -> None:
    """Gateways answer 200 and put the status into the body."""
    body = b'{"error": {"code": 429, "message": "slow down"}}'
    assert failure(garbled(body)).kind == "busy"


@pytest.mark.parametrize("status", [200, 500])
def test_an_oversized_reply_is_given_up(status: int) -> None:
    """Whatever its status, no more than a few MiB are read."""
    body = b'{"error": "' + b"x" * (6 << 20) + b'"}'
    failed = failure(Reply(status=status, body=body))
    assert failed.kind == "empty"
    assert "more than 4 MiB" in str(failed)
    assert len(str(failed)) < 200
    assert failure(huge(5 << 20)).kind == "empty"


def test_a_hanging_server_is_late() -> None:
    """The call ends at its limit, and counts as paid for."""
    failed = failure(hangs(30), timeout=0.3)
    assert (failed.kind, failed.cost_usd) == ("late", CAP)
    assert "AUTORESEARCH_LLM_TIMEOUT" in str(failed)


@pytest.mark.parametrize("status", [200, 500])
def test_a_dripping_server_is_late(status: int) -> None:
    """A reply that arrives byte by byte is given up at the deadline, before it is complete."""
    failed = failure(Reply(status=status, body=b"{" * 1000, drip=0.1), timeout=0.5)
    assert failed.kind == "late"


def test_a_dropped_connection_is_busy() -> None:
    """The network's trouble passes; the call may have been paid for."""
    failed = failure(drops())
    assert (failed.kind, failed.cost_usd) == ("busy", CAP)


def test_a_server_that_is_not_there_is_busy_and_costs_nothing() -> None:
    """The message names it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with Client(settings(url)) as client, pytest.raises(ProposalFailed) as raised:
        client.ask(HELLO)
    assert (raised.value.kind, raised.value.cost_usd) == ("busy", 0.0)
    assert url.split("/")[2] in str(raised.value)
    assert "Is it running?" in str(raised.value)


# ---- cost --------------------------------------------------------------------------------------


def test_a_known_price_is_taken() -> None:
    """By the model's name, for a server without a known provider: 100 tokens in, 50 out."""
    answer = ask(says("hi"), model="gpt-4o")
    assert answer.cost_usd == pytest.approx(100 * 2.5e-6 + 50 * 10e-6)


@pytest.mark.parametrize("usage", [None, (0, 0)])
def test_an_unknown_price_or_usage_costs_the_cap(usage: tuple[int, int] | None) -> None:
    """Never nothing."""
    assert ask(says("hi")).cost_usd == CAP
    assert ask(says("hi", usage=usage), model="gpt-4o").cost_usd == CAP


def test_a_cap_of_zero_says_that_a_server_of_ones_own_is_free() -> None:
    """But no word of the user's makes a provider free."""
    assert ask(says("hi"), max_usd_per_call=0.0).cost_usd == 0.0
    assert ask(says("hi"), model="gpt-4o", max_usd_per_call=0.0).cost_usd == 0.0
    paid = LLMSettings("gpt-4o", key_env=KEY_ENV, max_usd_per_call=0.0)
    with Client(paid) as client, pytest.raises(ProposalFailed, match="MAX_USD_PER_CALL is 0"):
        client._check_price(prices.highest_price(paid, 10))


def test_a_call_that_may_cost_more_than_the_cap_is_not_made() -> None:
    """The limit of tokens times the price decides, before the request."""
    with ModelServer([]) as server:
        dear = settings(server.url, model="gpt-4o", max_tokens=100_000)
        with Client(dear) as client, pytest.raises(ProposalFailed, match=r"may cost \$1\.00") as e:
            client.ask(HELLO)
    assert (e.value.kind, e.value.cost_usd) == ("stop", 0.0)
    assert server.requests == []


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": "one", "completion_tokens": 2},
        {"prompt_tokens": 1.5, "completion_tokens": 2},
        {"prompt_tokens": float("nan"), "completion_tokens": 2},
        {"prompt_tokens": 10**12, "completion_tokens": 2},
    ],
)
def test_usage_that_makes_no_sense_is_unknown(told: object) -> None:
    """What a server counts is not believed blindly."""
    assert prices.read_usage(told) is None
    assert prices.read_usage({"prompt_tokens": "1", "completion_tokens": 2}) == prices.Usage(1, 2)


def test_cached_tokens_cost_what_they_cost() -> None:
    """A prompt that the provider remembers is cheaper, never dearer."""
    told = {"prompt_tokens": 1000, "completion_tokens": 1}
    plain = prices.read_usage(told)
    cached = prices.read_usage(told | {"prompt_tokens_details": {"cached_tokens": 5000}})
    assert plain is not None
    assert cached == prices.Usage(1000, 1, 1000)
    openai = LLMSettings("gpt-4o")
    assert 0 < prices.cost(openai, cached) < prices.cost(openai, plain)


# ---- settings ----------------------------------------------------------------------------------


def test_settings_come_from_variables() -> None:
    """Each has its own; the model may stand after --agent llm:."""
    given = {
        "AUTORESEARCH_LLM_MODEL": "m",
        "AUTORESEARCH_LLM_BASE_URL": "http://127.0.0.1:1/v1",
        "AUTORESEARCH_LLM_KEY_ENV": "MINE",
        "AUTORESEARCH_LLM_MAX_USD_PER_CALL": "0.5",
        "AUTORESEARCH_LLM_MAX_TOKENS": "99",
        "AUTORESEARCH_LLM_TIMEOUT": "5",
        "AUTORESEARCH_LLM_CONTEXT_BYTES": "0",
    }
    told = from_environment(environ=given)
    assert told == LLMSettings("m", "http://127.0.0.1:1/v1", "MINE", 0.5, 99, 5.0, 0)
    assert from_environment("other", given).model == "other"


@pytest.mark.parametrize(
    ("base_url", "key_env"),
    [
        ("", "OPENAI_API_KEY"),
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://api.anthropic.com/v1/", "ANTHROPIC_API_KEY"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("http://127.0.0.1:11434/v1", ""),
        ("https://somebody.test/v1", ""),
        ("https://api.openai.com.somebody.test/v1", ""),
    ],
)
def test_a_key_goes_to_its_own_host_only(base_url: str, key_env: str) -> None:
    """OpenAI's key is not sent to another server in BASE_URL."""
    told = from_environment("m", {"AUTORESEARCH_LLM_BASE_URL": base_url})
    assert told.key_env == key_env


def test_openais_own_variable_is_heeded() -> None:
    """OPENAI_BASE_URL is used, with OpenAI's key."""
    told = from_environment("m", {"OPENAI_BASE_URL": "http://127.0.0.1:4000"})
    assert (told.base_url, told.key_env) == ("http://127.0.0.1:4000", "OPENAI_API_KEY")


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server gets a word in its place, whatever else the environment holds."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ModelServer([says("hi"), fails(401)]) as server:
        local = from_environment("m", {"AUTORESEARCH_LLM_BASE_URL": server.url})
        with Client(local) as client:
            client.ask(HELLO)
            with pytest.raises(ProposalFailed, match="Set AUTORESEARCH_LLM_KEY_ENV to the name"):
                client.ask(HELLO)
    assert server.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, r"--agent llm:MODEL, or AUTORESEARCH_LLM_MODEL"),
        (
            {"MODEL": "m", "TIMEOUT": "long"},
            r"_TIMEOUT is 'long'; allowed is a number of at least 0\.1",
        ),
        ({"MODEL": "m", "MAX_TOKENS": "0"}, r"_MAX_TOKENS is '0'"),
        ({"MODEL": "m", "MAX_USD_PER_CALL": "nan"}, r"_MAX_USD_PER_CALL is 'nan'"),
        ({"MODEL": "m", "BASE_URL": "localhost:11434"}, r"_BASE_URL is not a base URL"),
        ({"MODEL": "m", "BASE_URL": f"https://u:{KEY}@x.test/v1"}, r"_BASE_URL is not a base URL"),
        ({"MODEL": "m", "BASE_URL": "http://x.test:99999/v1"}, r"_BASE_URL is not a base URL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environ: dict[str, str], said: str) -> None:
    """And what it should be; a key in a URL is not repeated."""
    with pytest.raises(ProposerError, match=said) as raised:
        from_environment(environ={f"AUTORESEARCH_LLM_{k}": v for k, v in environ.items()})
    assert KEY not in str(raised.value)


def test_every_setting_and_key_is_documented() -> None:
    """docs/agents.md names each variable."""
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    names = ("MODEL", "BASE_URL", "KEY_ENV", "MAX_USD_PER_CALL", "MAX_TOKENS", "TIMEOUT")
    names += ("CONTEXT_BYTES",)
    for name in (*(f"AUTORESEARCH_LLM_{name}" for name in names), *KEY_OF.values()):
        assert f"`{name}`" in page


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the night begins."""
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(ProposerError, match=f"set {KEY_ENV}"):
        Client(settings("http://127.0.0.1:1/v1"))


@pytest.mark.parametrize("key", ["sk-1234567…", "sk-12345678\nsk-2", "two words here"])
def test_a_key_that_is_none_is_not_sent_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A key that was copied badly is reported at once, without showing it."""
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(ProposerError, match=f"The key in {KEY_ENV} holds") as raised:
        Client(settings("http://127.0.0.1:1/v1"))
    assert key not in str(raised.value)


# ---- the key -----------------------------------------------------------------------------------


def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the SDK and all below it log everything."""
    with caplog.at_level(logging.DEBUG):
        ask(says("hi"))
        failure(fails(401, "no"))
    assert caplog.records
    assert KEY not in caplog.text


def test_a_server_that_repeats_the_key_is_not_passed_on() -> None:
    """Neither in a model's answer nor in an error."""
    assert ask(says(f"NOTE: {KEY}")).text == "NOTE: [key]"
    assert KEY not in str(failure(Reply(refusal=f"not with {KEY}")))
    assert KEY not in str(failure(Reply(status=500, body=f"<p>{KEY}".encode())))
    assert KEY not in str(failure(garbled(f'{{"error": "{KEY}"}}'.encode())))
    assert KEY not in str(failure(fails(400, "x" * 290 + KEY)))
