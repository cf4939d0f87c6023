"""Keys over HTTP: what is stored of them, who the admin is, and which ones are listed."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_server import ADMIN, Server, serving, settings

KEYS = "/api/v2/keys"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", settings(requests_per_minute=100_000)) as found:
        yield found


@pytest.mark.parametrize(
    "id", ["<script>", "../x", "a\nb", "", ".x", "a" * 64, "a b", "é", "admin"]
)
def test_the_admin_makes_no_hostile_ids(server: Server, id: str) -> None:
    """An agent's id is checked for the admin, too."""
    found = server.ask("POST", "/api/admin/agents", {"id": id}, ADMIN)
    assert found.status == (409 if id == "admin" else 400)
    assert found.error


@pytest.mark.parametrize("key", ["", "x", ADMIN[:-1], ADMIN + "x", ADMIN.upper()])
def test_only_the_admin_key_is_the_admin_key(server: Server, key: str) -> None:
    """Anything else than the whole key is nobody's."""
    assert server.ask("POST", "/api/admin/agents", {"id": "x"}, key).status == 401


def test_no_key_is_stored(server: Server) -> None:
    """What lies on disk opens nothing, and only the hub's owner may read it."""
    key = server.key("someone")
    assert server.get("/api/channels").status == 200
    files = [path for path in server.data.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"hub.db", "pepper"}
    for path in files:
        content = path.read_bytes()
        assert key.encode() not in content, path
        assert key.rpartition("_")[2].encode() not in content, path
    for path in (server.data, server.data / "hub.db", server.data / "pepper"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_keys_that_ended_hide_none_that_opens(server: Server) -> None:
    """A key that ends makes none that lasts, however many it has made and ended; its owner sees it
    all along, and can end it."""
    own = server.key("ada")
    end = int(time.time()) + 3_000
    made = server.ask("POST", KEYS, {"expires": end, "label": "lent"}, own).json
    lent = made["api_key"]
    for _ in range(201):
        other = server.ask("POST", KEYS, {"expires": end}, lent).json["key"]["id"]
        assert server.ask("DELETE", f"{KEYS}/{other}", key=lent).status == 200
    assert server.ask("POST", KEYS, {"label": "lasting"}, lent).status == 403
    shown = server.ask("GET", KEYS, key=own).json["keys"]
    assert [key["label"] for key in shown if key["revoked"] is None] == ["", "lent"]
    assert server.ask("DELETE", f"{KEYS}/{made['key']['id']}", key=own).status == 200
    assert server.ask("GET", "/api/v2/me", key=lent).status == 401
