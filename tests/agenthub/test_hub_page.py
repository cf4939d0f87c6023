"""What docs/hub.md says of the original's holes is true; and hole 9, which is of `ah` itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from hub_server import serving

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "hub.md"
AH = "from agenthub.cli import main; main()"


def ah(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`ah` as somebody with a home of their own calls it."""
    env = {name: value for name, value in os.environ.items() if "HUB" not in name}
    env |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", AH, *words], env=env, capture_output=True, text=True, check=False
    )


def test_every_hole_has_its_line_and_tests_that_exist() -> None:
    """24 lines in order, each with the name of at least one test of this suite."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 25))
    known = set()
    for path in TESTS.rglob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    for number, names in rows:
        named = re.findall(r"`(test_\w+)`", names)
        assert named, f"hole {number} has no test"
        assert set(named) <= known, f"hole {number} names {set(named) - known}"


def test_flags_may_stand_anywhere(tmp_path: Path) -> None:
    """The original's own usage line works, and a limit after the channel is obeyed."""
    with serving(tmp_path / "data") as server:
        joined = ah(tmp_path, "join", server.url, "--name", "ada")
        assert joined.returncode == 0, joined.stderr
        assert ah(tmp_path, "channel", "results").returncode == 0
        for number in range(4):
            assert ah(tmp_path, "post", "results", f"number {number}").returncode == 0
        after = ah(tmp_path, "read", "results", "--limit", "2").stdout.splitlines()
        before = ah(tmp_path, "read", "--limit", "2", "results").stdout.splitlines()
    assert [line[-1] for line in after] == ["2", "3"]
    assert after == before
