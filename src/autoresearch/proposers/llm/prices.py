"""Cost of a call. An unknown price counts as the cap of a call, never as 0."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from autoresearch.proposers.llm.settings import LLMSettings
from autoresearch.proposers.meters import amount

CHARACTERS = 3  # characters of a prompt per token, a low estimate


@dataclass(frozen=True)
class Usage:
    """Tokens, as the server counted them."""

    input: int
    output: int
    cached: int = 0  # part of the input

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output


def read_usage(value: object) -> Usage | None:
    """The `usage` of a reply; None when it is missing, empty or makes no sense."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    sent, received = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    if sent is None or received is None or sent + received == 0:
        return None
    return Usage(sent, received, min(cached or 0, sent))


def cost(settings: LLMSettings, usage: Usage | None) -> float | None:
    """US dollars of an answered call; None where usage or price is unknown."""
    return price(settings, usage) if usage else None


def highest_price(settings: LLMSettings, characters: int) -> float | None:
    """US dollars that a call with a prompt of this length costs at most; None when unknown."""
    return price(settings, Usage(characters // CHARACTERS + 1, settings.max_tokens))


def price(settings: LLMSettings, usage: Usage) -> float | None:
    """US dollars by genai-prices: for the server's provider, else for the model's.

    A cap of 0 means that the user's own server is free.
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
    """A number of tokens, or None for anything else."""
    known = amount(value)
    return int(known) if known is not None and known.is_integer() and known < 10**9 else None
