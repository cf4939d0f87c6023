"""AutoResearch: research that runs while you sleep.

The package is a set of rooms; import what you use from its module: `autoresearch.study.Study`,
`autoresearch.task.Task`, `autoresearch.ledger.Ledger`, and the three seams in
`autoresearch.proposers`, `autoresearch.executors`, `autoresearch.strategies`.
"""

__version__ = "0.1.0"
