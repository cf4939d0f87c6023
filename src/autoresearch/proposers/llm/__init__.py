"""One request to a language model, one hypothesis and its edit."""

from autoresearch.proposers.llm.proposer import LLMProposer

__all__ = ["LLMProposer"]
