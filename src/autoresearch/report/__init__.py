"""The report of a study: a page, pictures, tables and figures, computed from the record.

Importing it imports neither Altair nor Jinja2; the page and the pictures need the extra `report`.
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
