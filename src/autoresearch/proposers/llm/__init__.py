"""Proposals by a language model: one request, one hypothesis, one edit."""

from autoresearch.proposers.llm.proposer import LLMProposer

__all__ = ["LLMProposer"]
