"""One call to a server of OpenAI's chat completions API, bounded in time and size."""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from autoresearch.errors import ProposerError
from autoresearch.proposers import ProposalFailed
from autoresearch.proposers.llm import prices
from autoresearch.proposers.llm.failures import http_failure
from autoresearch.proposers.llm.settings import PREFIX, LLMSettings, redact

LARGEST = 4 << 20  # bytes of a reply's body at most
NO_KEY = "none"  # sent to servers that need no key
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # some servers leave this in the text

Message = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A model's answer, and its cost."""

    text: str
    cost_usd: float
    tokens: int
    cut: bool  # the limit of tokens cut it off
    priced: bool = True  # false: the cost is unknown, and counted as the cap of a call


class Unbounded(Exception):
    """A reply that is too long or too slow."""


class TooMuch(Unbounded):
    """A reply of more than LARGEST bytes."""


class TooLate(Unbounded):
    """A reply whose body still arrives after the deadline."""


class Client:
    """A connection to one server, as a context manager. It never retries: the loop does."""

    def __init__(self, settings: LLMSettings) -> None:
        self.settings = settings
        self._key = settings.key()
        self._sdk = load_sdk()
        self._deadline = 0.0
        base = self._sdk.DefaultHttpxClient.__base__
        self._httpx: Any = importlib.import_module(base.__module__.partition(".")[0])
        self._http = self._sdk.DefaultHttpxClient(
            timeout=settings.timeout, event_hooks={"response": [self._bound]}
        )
        self._api = self._sdk.OpenAI(
            api_key=self._key or NO_KEY,
            base_url=settings.base_url,
            timeout=settings.timeout,
            max_retries=0,
            http_client=self._http,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, messages: Sequence[Message]) -> Answer:
        """One call; ProposalFailed, with the cost it may have had, when it gives no answer.

        Takes at most `timeout` seconds, or twice that when the server sends its reply slowly.
        """
        self._check_price(self._highest_price(messages))
        spent = self.highest_cost(messages)
        return self._answer(self._reply(messages, spent), spent)

    def highest_cost(self, messages: Sequence[Message]) -> float:
        """Dollars that a call costs at most; the cap of a call where no price is known."""
        most = self._highest_price(messages)
        return self.settings.max_usd_per_call if most is None else most

    def _highest_price(self, messages: Sequence[Message]) -> float | None:
        return prices.highest_price(
            self.settings, sum(len(message["content"]) for message in messages)
        )

    # ---- the call ------------------------------------------------------------------------------

    def _reply(self, messages: Sequence[Message], spent: float) -> bytes:
        """The body of the reply; each failure of the SDK as ProposalFailed, without its request."""
        self._deadline = time.monotonic() + self.settings.timeout
        limit = {_limit_name(self.settings.base_url): self.settings.max_tokens}
        create = self._api.chat.completions.with_raw_response.create
        try:
            raw = create(model=self.settings.model, messages=list(messages), **limit)
            return bytes(raw.content)
        except self._sdk.APIStatusError as error:
            headers = {name.lower(): text for name, text in error.response.headers.items()}
            failed = http_failure(self.settings, self._key, error.status_code, headers, error.body)
        except self._sdk.APIConnectionError as error:
            failed = self._connection_failure(error.__cause__ or error, spent)
        except (Unbounded, self._httpx.HTTPError) as error:  # while the body was read
            failed = self._connection_failure(error, spent)
        except self._sdk.OpenAIError as error:
            failed = self._failed("empty", f"sent what the SDK cannot read: {error}", spent)
        raise failed from None  # the SDK's error holds the request, which holds the key

    def _connection_failure(self, cause: BaseException, spent: float) -> ProposalFailed:
        """A failure of the network, or a limit of ours; the call may have cost money."""
        if isinstance(cause, TooMuch):
            return self._failed("empty", f"sent more than {LARGEST >> 20} MiB", spent)
        if isinstance(cause, (self._httpx.ConnectError, self._httpx.ConnectTimeout)):
            return self._failed("busy", f"cannot be reached ({cause}). Is it running?", 0.0)
        if isinstance(cause, (TooLate, self._httpx.TimeoutException)):
            seconds = f"{self.settings.timeout:g} s"
            hint = f"({PREFIX}TIMEOUT sets the limit)"
            return self._failed("late", f"had not answered after {seconds} {hint}", spent)
        return self._failed("busy", f"broke off: {type(cause).__name__}: {cause}", spent)

    def _failed(self, kind: Any, what: str, cost: float, tokens: int = 0) -> ProposalFailed:
        text = " ".join(redact(f"{self.settings.host} {what}", self._key).split())
        end = "" if text.endswith((".", "?")) else "."
        return ProposalFailed(kind, f"{text}{end}", cost_usd=cost, tokens=tokens)

    def _check_price(self, most: float | None) -> None:
        cap = self.settings.max_usd_per_call
        if most is not None and most > cap:
            raise ProposalFailed(
                "stop",
                f"One call to {self.settings.model} may cost ${most:.2f}, and {PREFIX}"
                f"MAX_USD_PER_CALL is {cap:g}. Raise it, or lower {PREFIX}MAX_TOKENS "
                f"({self.settings.max_tokens}).",
            )

    def _bound(self, response: Any) -> None:
        """Limit the body of every response in size and time."""
        response.stream = _bounded(self._httpx.SyncByteStream, response.stream, self._deadline)

    # ---- the answer ----------------------------------------------------------------------------

    def _answer(self, reply: bytes, spent: float) -> Answer:
        """The answer in a reply; ProposalFailed when it holds none."""
        body = _parse_json(reply)
        if not isinstance(body, dict):
            raise self._failed("empty", "answered with something that is not a JSON object", spent)
        choices = body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(choice, dict) or not choice:
            raise self._no_choice(body, spent)
        usage = prices.read_usage(body.get("usage"))
        known, tokens = prices.cost(self.settings, usage), usage.total if usage else 0
        dollars = self.settings.max_usd_per_call if known is None else known
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        finish = choice.get("finish_reason")
        if refusal := message.get("refusal") or (finish == "content_filter" and "filtered"):
            raise self._failed("refusal", f"refused: {str(refusal)[:300]}", dollars, tokens)
        text = _THOUGHT.sub("", redact(_text(message.get("content")), self._key))
        if not text.strip():
            raise self._failed("empty", _empty_reason(finish), dollars, tokens)
        return Answer(text, dollars, tokens, cut=finish == "length", priced=known is not None)

    def _no_choice(self, body: dict[str, Any], spent: float) -> ProposalFailed:
        """The failure in a reply without choices: some gateways answer 200 with an error inside."""
        error = body.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code < 600:
            return http_failure(self.settings, self._key, code, {}, error)
        text = f"answered without a choice: {str(error or sorted(body))[:200]}"
        return self._failed("empty", text, spent)


def load_sdk() -> Any:
    """Import the packages of the extra [llm]; ProposerError says how to install them."""
    try:
        importlib.import_module("genai_prices")
        return importlib.import_module("openai")
    except ModuleNotFoundError as missing:
        raise ProposerError(
            f"The llm proposer needs {missing.name}: pip install 'autoresearch[llm]'"
        ) from None


def _limit_name(base_url: str) -> str:
    """The parameter for the limit of tokens: OpenAI's newer models and other servers differ."""
    host = urlsplit(base_url).hostname or ""
    newer = host.endswith((".openai.com", ".azure.com"))
    return "max_completion_tokens" if newer else "max_tokens"


def _bounded(base: type[Any], stream: Any, deadline: float) -> Any:
    """A stream of the HTTP package's own class that raises TooMuch or TooLate at its limits."""

    class Bounded(base):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in stream:
                size += len(chunk)
                if size > LARGEST:
                    raise TooMuch
                if time.monotonic() > deadline:
                    raise TooLate
                yield chunk

        def close(self) -> None:
            stream.close()

    return Bounded()


def _parse_json(reply: bytes) -> object:
    try:
        return json.loads(reply)
    except (ValueError, RecursionError):
        return None


def _text(content: object) -> str:
    """A message's content, which is a text or a list of parts with texts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    text = content if isinstance(content, str) else ""
    return text.encode("utf-8", "replace").decode()  # JSON may hold lone surrogates; a file may not


def _empty_reason(finish: object) -> str:
    if finish == "length":
        return f"used all its tokens and sent no text; raise {PREFIX}MAX_TOKENS"
    return "answered with an empty text"
