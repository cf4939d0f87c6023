"""The study: it drives trials from a proposal to a decision."""
