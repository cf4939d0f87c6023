"""Whatever is sent to v2, the answer is what the schema says, or a 4xx that says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Repo
from v2_hub import P, Served, served

SKIPPED = {"events.stream"}  # it does not end
NAMES = ["main", "talk", "ada", "1", "2", "0", "-1", "999999999999999999999", "0" * 40, "0" * 7]
HOSTILE = ["", ".", "..", "../..", "%00", "\x00", "a\nb", "é", "\U0001f4a9", "'", '"', "{}", "*"]
KNOWN = {  # what is there, for nine in ten paths
    "slug": ["main"], "name": ["talk"], "hash": NAMES[-1:], "old": NAMES[-1:], "new": NAMES[-1:],
    "id": [1, 2, "ada"], "seq": [1], "lease": [1, 2], "claim": [1, 2], "path": ["train.py", ""],
    "limit": [1, 200], "view": ["full", "structured"], "kinds": ["post", ""], "q": ["hello"],
    "commit": NAMES[-1:], "want": NAMES[-1:], "tree": [NAMES[-1], ""], "platform": ["H100"],
    "text": ["try it", "x" * 2_000], "content": ["hello @ada", "\u202e x"], "values": [[1.0]],
    "hashes": [NAMES[-1:]], "upto": [1, 2], "metric": ["", "val_bpb"],
}  # fmt: skip
TEXT = st.one_of(
    st.sampled_from([*NAMES, *HOSTILE, "x" * 40_000, "\ud800", "\u202e", "H100", "keep"]),
    st.text(max_size=60),
)
NUMBER = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**400, 1e308, -0.0, 0.5]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hub in which there is something of everything."""
    folder = tmp_path_factory.mktemp("fuzz")
    lab = Repo(folder / "lab")
    lab.folder.mkdir()
    lab.git("init", "-q", "-b", "main")
    lab.write("train.py", "x = 1\n")
    NAMES.append(lab.commit("first"))
    for name in ("hash", "old", "new", "commit", "want"):
        KNOWN[name] = NAMES[-1:]
    with served(folder / "hub", max_bundle_mb=0.01) as up:
        ada = up.agent("ada")
        ada.push(lab)
        ada.post(f"{P}/channels", {"name": "talk"})
        ada.post(f"{P}/channels/talk/posts", {"content": "hello @ada"})
        ada.post(f"{P}/claims", {"text": "it"})
        body = {"commit": NAMES[-1], "platform": "H100", "status": "keep", "value": 1.0}
        ada.post(f"{P}/results", body)
        yield up


@st.composite
def requests(draw: st.DrawFn, schema: dict[str, Any]) -> tuple[str, str, bytes | None]:
    """A request to some route: nearly right, quite wrong, or nothing of the kind."""
    rows = [
        (path, method, told)
        for path, each in schema["paths"].items()
        for method, told in each.items()
        if path.startswith("/api/v2") and told["operationId"] not in SKIPPED
    ]
    path, method, told = draw(st.sampled_from(rows))
    query = []
    for parameter in told.get("parameters", ()):
        value = draw(likely(parameter["name"], parameter["schema"], schema))
        text = value if isinstance(value, str) else json.dumps(value)
        safe = quote(text.encode("utf-8", "surrogatepass"), safe="")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", safe or "%20")
        elif parameter["name"] != "wait" and draw(st.booleans()):
            query.append(f"{parameter['name']}={safe[:3_000]}")
    body = told.get("requestBody", {}).get("content", {}).get("application/json")
    sent = draw(body_of(body["schema"], schema)) if body else draw(st.none() | st.binary())
    return method.upper(), f"{path}?{'&'.join(query)}" if query else path, sent


@st.composite
def body_of(draw: st.DrawFn, shape: dict[str, Any], schema: dict[str, Any]) -> bytes | None:
    """A body: an object with nearly right fields, any JSON, or bytes."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.none() | st.binary(max_size=200))
    if kind == 1:
        return json.dumps(draw(ANYTHING)).encode()
    model = schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    found = {
        name: draw(likely(name, field, schema))
        for name, field in model.get("properties", {}).items()
        if name in model.get("required", ()) or draw(st.booleans())
    }
    return json.dumps(found).encode()


def likely(name: str, field: dict[str, Any], schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Nine times in ten what is there, if that is known."""
    usual, any_ = KNOWN.get(name), value_of(field, schema)
    if not usual:
        return any_
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(usual) if n else any_)


def value_of(field: dict[str, Any], schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Mostly a value of a field's type; sometimes anything."""
    return st.integers(0, 4).flatmap(lambda n: ANYTHING if n == 0 else right(field, schema))


def right(field: dict[str, Any], schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A value of a field's type."""
    if "anyOf" in field:
        return st.one_of([right(each, schema) for each in field["anyOf"]])
    if "enum" in field:
        return st.sampled_from(field["enum"])
    kind = field.get("type")
    if kind == "array":
        return st.lists(right(field["items"], schema), max_size=3)
    if kind == "object":
        return st.dictionaries(TEXT, NUMBER | TEXT, max_size=3)
    by_kind = {"integer": st.integers(-2, 5) | NUMBER, "number": NUMBER, "boolean": st.booleans()}
    return by_kind.get(str(kind), st.sampled_from(NAMES) | TEXT)


@pytest.mark.slow
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_request_is_too_odd_for_v2(hub: Served, data: st.DataObject) -> None:
    """No 500, no dropped connection: the schema's answer, or a 4xx in JSON; and the hub is up."""
    method, target, body = data.draw(requests(hub.described.schema))
    wanted = ("/admin/" in target or method == "PATCH") and hub.admin
    people = [wanted or hub.agent("ada"), hub.agent("ada"), hub.admin]
    said = data.draw(st.sampled_from(people)).ask(method, target, body)  # checked by the schema
    if said.status == 401:  # it took its own key away, or the admin did
        hub.admin.post("/api/v2/admin/agents/ada/enable", None, 200)
        hub.agents["ada"] = hub.admin.post("/api/v2/keys", {"agent": "ada"})["api_key"]
    assert said.status < 500, (method, target, body, said)
    if said.status >= 400:
        assert len(said.json["error"]) > 10 and len(said.body) < 8_000


def test_deep_and_large_bodies_are_refused(hub: Served) -> None:
    """JSON of depth 10,000, a body over the cap, a chunked one without an end in sight."""
    ada = hub.agent("ada")
    for body in (b"[" * 10_000, b'{"text":' * 10_000, b'{"text": ' + b"[" * 40 + b"]" * 40 + b"}"):
        assert "json" in ada.post(f"{P}/claims", body, 400)["error"]
    assert "bytes" in ada.post(f"{P}/claims", b" " * 300_000, 413)["error"]
    for body in (b"", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b'{"text": NaN}'):
        assert "json" in ada.post(f"{P}/claims", body, 400)["error"]
    twice = ada.post(f"{P}/claims", b'{"text": "a", "text": ""}', 400)
    assert twice["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_wrong_methods_are_told_which_are_right(hub: Served, method: str) -> None:
    """405 with the methods that there are."""
    said = hub.agent("ada").ask(method, f"{P}/claims")
    assert said.status == 405
    assert "GET" in said.headers["allow"] or "POST" in said.headers["allow"]


def test_unknown_paths_are_told_where_to_look(hub: Served) -> None:
    """404 in JSON."""
    for path in ("/api/v2", "/api/v2/nothing", f"{P}/nothing", "/api/v3/projects", f"{P}/claims/1"):
        assert hub.agent("ada").ask("GET", path).status in (404, 405), path
