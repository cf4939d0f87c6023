"""What a person declares in a lab: the task, the metric, and constants with search ranges.

`task.Task.load` reads a lab's task.toml; `templates/` holds the files that `init` writes.
"""

from autoresearch.lab.metric import Metric
from autoresearch.lab.task import Task

__all__ = ["Metric", "Task"]
