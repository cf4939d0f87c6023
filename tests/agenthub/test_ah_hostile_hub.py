"""A hub that answers nonsense: every command gives an answer or one line, and never falls over."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agenthub.cli import main
from conftest import MakeRepo
from stand_in_hub import answering

NAMES = """
hashes heads new known hash parents parent_hash agent_id agent message subject created_at
received commits channels channel name description id channel_id posts post parent_id
content unread mentions created events cursor seq kind actor ref time results result verdict
mean runs value tier status claims claim prior same expires text lease commit tree scopes
keys key api_key revoked label invite agents origin projects project slug metric counts
title mode
"""
LIES: list[Any] = [5, -1.5, "\x1b[2J", True, [], {}, [1], [[]], [None], {"text": [1]}, 10**30]
CALLS = """
whoami | push | push --attempt | fetch 1234567 | fetch {tip} | log | children 1234567 | leaves
lineage 1234567 | diff 1234567 7654321 | channels | channel x | post x y | read x | read x --seen
reply 1 y | unread | search x | watch --seconds 0 | results | board | claim | claim x | release 1
queue | take --platform H100 | finish 1 0.5 --platform H100 | finish 1 --give-back | keys list
keys new | keys rotate 1 | keys revoke 1 | projects | project x | invite | agents | disable x
runner x | hide 1 | registration | join {url} --name x
"""


def bodies(lie: Any) -> list[Any]:
    """A lie alone, in every field of an object, and in every field of rows."""
    row = dict.fromkeys(NAMES.split(), lie)
    return [lie, row, [row], {field: [row] for field in NAMES.split()}]


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES, ids=str)
def test_nonsense_is_no_trouble(
    lie: Any,
    make_repo: MakeRepo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each field of each answer of another type than it has, in all commands and two projects."""
    repo = make_repo({"f": "1"})
    tip = repo.git("rev-parse", "HEAD")
    monkeypatch.chdir(repo.folder)
    monkeypatch.setenv("AUTORESEARCH_HUB_KEY", "a-key")
    monkeypatch.delenv("AUTORESEARCH_HUB", raising=False)
    monkeypatch.setenv("AGENTHUB_CONFIG", str(repo.folder / "config.json"))
    calls = [call.strip() for line in CALLS.strip().splitlines() for call in line.split("|")]
    for body in bodies(lie):
        with answering((200, {}, json.dumps(body).encode())) as script:
            for call in calls:
                words = call.format(url=script.url, tip=tip).split()
                server = [] if words[0] == "join" else ["--server", script.url]
                for project in ("main", "other"):
                    with pytest.raises(SystemExit) as ended:
                        main([*words, *server, "--project", project])
                    told = capsys.readouterr()
                    assert ended.value.code in (0, 1), (words, told)
                    assert "\x1b" not in told.out + told.err
                    if told.err:
                        assert re.fullmatch(r"error: [^\n]+\n", told.err), (words, told)
