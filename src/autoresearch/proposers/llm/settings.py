"""Settings of the llm proposer: its model, server, key and limits."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from autoresearch.errors import ProposerError

PREFIX = "AUTORESEARCH_LLM_"
OPENAI = "https://api.openai.com/v1"
# Each key goes to its own host only, unless a person says otherwise.
KEY_OF = {
    "api.openai.com": "OPENAI_API_KEY",
    "api.anthropic.com": "ANTHROPIC_API_KEY",
    "generativelanguage.googleapis.com": "GEMINI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
}
REDACTED = "[key]"
SHORT = 8  # a shorter key is not redacted: its letters occur in ordinary text


@dataclass(frozen=True)
class LLMSettings:
    """One model on one server."""

    model: str
    base_url: str = OPENAI
    key_env: str = "OPENAI_API_KEY"  # the variable that holds the key; "": no key
    max_usd_per_call: float = 1.0  # dearer calls are not made; an unknown price counts as this
    max_tokens: int = 16_384  # of one reply, its reasoning included
    timeout: float = 600.0  # seconds of one call
    context_bytes: int = 32_000  # of files shown to the model that are not editable

    @property
    def host(self) -> str:
        """The server's host and port, for messages."""
        parts = urlsplit(self.base_url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname}{port}"

    def key(self) -> str:
        """The key from the environment; empty if none is needed. ProposerError if it is missing."""
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key:
            raise ProposerError(
                f"The llm proposer needs a key for {self.host}: set {self.key_env}, or "
                f"{PREFIX}KEY_ENV to the name of the variable that holds it."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ProposerError(
                f"The key in {self.key_env} holds a blank or a character that cannot be in a "
                "key. Was something else copied with it?"
            )
        return key


def from_environment(model: str = "", environ: Mapping[str, str] = os.environ) -> LLMSettings:
    """The settings from environment variables; ProposerError for an invalid one."""
    model = model or environ.get(f"{PREFIX}MODEL", "").strip()
    if not model:
        raise ProposerError(
            f"The llm proposer needs a model: --agent llm:MODEL, or {PREFIX}MODEL=MODEL. "
            f"For a server other than OpenAI's set {PREFIX}BASE_URL=http://127.0.0.1:11434/v1"
        )
    base_url, key_env = _server(environ)
    return LLMSettings(
        model=model,
        base_url=base_url,
        key_env=key_env,
        max_usd_per_call=_number(environ, "MAX_USD_PER_CALL", LLMSettings.max_usd_per_call, 0),
        max_tokens=int(_number(environ, "MAX_TOKENS", LLMSettings.max_tokens, 1)),
        timeout=_number(environ, "TIMEOUT", LLMSettings.timeout, 0.1),
        context_bytes=int(_number(environ, "CONTEXT_BYTES", LLMSettings.context_bytes, 0)),
    )


def redact(text: str, key: str) -> str:
    """A text with the key replaced, in case a server repeats it."""
    return text.replace(key, REDACTED) if len(key) >= SHORT else text


def _server(environ: Mapping[str, str]) -> tuple[str, str]:
    """The base URL and the variable of its key: as set, else by the host, else none."""
    ours = environ.get(f"{PREFIX}BASE_URL", "").strip()
    base_url = ours or environ.get("OPENAI_BASE_URL", "").strip() or OPENAI
    usual = KEY_OF.get(_host(base_url), "" if ours else "OPENAI_API_KEY")
    return base_url, environ.get(f"{PREFIX}KEY_ENV", usual).strip()


def _host(base_url: str) -> str:
    """The host of a base URL; ProposerError when it is not one."""
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query:
        raise ProposerError(
            f"{PREFIX}BASE_URL is not a base URL. It looks like http://127.0.0.1:11434/v1: "
            f"scheme, host and path; a key goes into a variable, which {PREFIX}KEY_ENV names."
        )
    return parts.hostname or ""


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    """The number in a variable, at least `least`."""
    text = environ.get(PREFIX + name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        raise ProposerError(
            f"{PREFIX}{name} is {text!r}; allowed is a number of at least {least:g}."
        )
    return number
