"""AutoResearch: research that runs while you sleep.

Import what you use from its package: `autoresearch.study`, `autoresearch.lab`,
`autoresearch.store`, and the seams in `autoresearch.proposers`, `autoresearch.executors`,
`autoresearch.strategies`.
"""

__version__ = "0.1.0"
