"""LocalExecutor: this machine, no sandbox; a supervisor process per job kills all of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from autoresearch.errors import ExecutorError
from autoresearch.executors import Execution, Job

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class LocalExecutor:
    """Runs commands as the current user, with nothing between them and the machine."""

    name = "local"

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; nothing of it is alive on return."""
        with subprocess.Popen(
            [sys.executable, "-I", str(_SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us, and we close its stdin
        ) as supervisor:
            assert supervisor.stdin and supervisor.stdout
            supervisor.stdin.write(_encoded(job))
            supervisor.stdin.flush()
            answer = supervisor.stdout.read()
        if supervisor.returncode != 0 or not answer:
            raise ExecutorError(
                f"The supervisor of `{job.command}` ended with {supervisor.returncode} and no "
                f"report, so its processes may still run. Look for them below {job.folder}."
            )
        return Execution(**json.loads(answer))


def _encoded(job: Job) -> bytes:
    fields = dataclasses.asdict(job)
    fields |= {"folder": str(job.folder), "log": str(job.log), "env": dict(job.env)}
    return json.dumps(fields).encode() + b"\n"
