"""Report: what a study found, as a page, pictures, tables and files for other tools.

Importing this imports no drawing library; pictures need the extra `report`.
"""

from autoresearch.report.curves import read_curve
from autoresearch.report.story import Story
from autoresearch.report.table import staircase, trials_table
from autoresearch.report.write import write_report
from autoresearch.store.results import jsonl, results_tsv
from autoresearch.store.rows import Row, from_trials, read_tsv

__all__ = [
    "Row",
    "Story",
    "from_trials",
    "jsonl",
    "read_curve",
    "read_tsv",
    "results_tsv",
    "staircase",
    "trials_table",
    "write_report",
]
