"""What a call cost. A price that nobody knows counts as the cap of a call, never as nothing."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from autoresearch.proposers.llm.settings import LLMSettings

CHARACTERS = 3  # of a prompt to a token, when it must be guessed: fewer than there are


@dataclass(frozen=True)
class Usage:
    """Tokens as a server counts them."""

    input: int
    output: int
    cached: int = 0  # of the input

    @property
    def total(self) -> int:
        """All of them."""
        return self.input + self.output


def read_usage(told: object) -> Usage | None:
    """The `usage` of a reply; None when it is missing, empty or makes no sense."""
    if not isinstance(told, dict):
        return None
    details = told.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    asked, said = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    if asked is None or said is None or asked + said == 0:
        return None
    return Usage(asked, said, min(cached or 0, asked))


def cost(settings: LLMSettings, usage: Usage | None) -> float:
    """US dollars of an answered call."""
    known = price(settings, usage) if usage else None
    return settings.max_usd_per_call if known is None else known


def most(settings: LLMSettings, characters: int) -> float | None:
    """About the most that a call may cost with a prompt of this length; None when unknown."""
    return price(settings, Usage(characters // CHARACTERS + 1, settings.max_tokens))


def price(settings: LLMSettings, usage: Usage) -> float | None:
    """US dollars by genai-prices: what the server's own provider takes, else what the model's does.

    With a cap of zero a person says that calls to their own server cost nothing.
    """
    by_server = _calculated(settings.model, usage, provider_api_url=settings.base_url)
    if by_server is not None:
        return by_server
    if settings.max_usd_per_call == 0:
        return 0.0
    return _calculated(settings.model, usage)


def _calculated(model: str, usage: Usage, **where: str) -> float | None:
    prices: Any = importlib.import_module("genai_prices")
    counted = prices.Usage(
        input_tokens=usage.input, output_tokens=usage.output, cache_read_tokens=usage.cached
    )
    try:
        dollars = float(prices.calc_price(counted, model, **where).total_price)
    except (LookupError, ValueError, TypeError):
        return None
    return dollars if math.isfinite(dollars) and dollars >= 0 else None


def _count(value: object) -> int | None:
    """A number of tokens, if it is one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 10**9 else None
