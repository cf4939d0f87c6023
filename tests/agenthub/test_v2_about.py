"""What the hub says of itself: llms.txt, the schema of its API, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from v2_hub import P, Served, served


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An empty hub."""
    with served(tmp_path_factory.mktemp("about") / "hub") as up:
        yield up


def test_llms_txt_names_only_what_there_is(hub: Served) -> None:
    """Every route that it tells of exists, every body in it is taken, every blank is filled."""
    said = hub.stranger.ask("GET", "/llms.txt")
    text = said.body.decode()
    assert said.headers["content-type"] == "text/plain; charset=utf-8"
    assert f"http://127.0.0.1:{hub.port}/api/register" in text
    assert "$" not in text and max(map(len, text.splitlines())) < 120
    paths = hub.described.schema["paths"]
    told = re.findall(r"(GET|POST) (P?/[\w/.-]+|P/[A-Z]+)", text)
    assert len(told) > 15
    for method, path in told:
        full = path.replace("P/", f"{P}/", 1) if path.startswith("P/") else path
        shape = re.sub(r"/[A-Z]{2,}\b", "/{}", full)
        those = [each for each in paths if method.lower() in paths[each]]
        known = {re.sub(r"{[a-z_]+}", "{}", each) for each in those}
        assert shape.replace("/projects/main", "/projects/{}") in known, (method, path)


def test_llms_txt_s_examples_work(hub: Served) -> None:
    """Its bodies are JSON with fields that the routes know."""
    text = " ".join(hub.stranger.ask("GET", "/llms.txt").body.decode().split())
    schemas = hub.described.schema["components"]["schemas"]
    for start, model in (
        ("P/claims", "ClaimBody"),
        ("P/results", "ResultBody"),
        ("P/replication/take", "Take"),
        ("P/replication/LEASE/finish", "Finish"),
        ("P/channels/NAME/posts", "PostBody"),
        ("P/git/haves", "Haves"),
    ):
        found = re.search(rf"POST {re.escape(start)} (\{{.*?\}})`", text)
        assert found is not None, start
        filled = re.sub(r"\b(TREE|HASH)\b", f'"{"0" * 40}"', found[1]).replace("[...]", "[]")
        body = json.loads(filled)
        assert body.keys() <= schemas[model]["properties"].keys(), start
        assert body.keys() >= set(schemas[model].get("required", ())), start


def test_the_schema_is_complete(hub: Served) -> None:
    """Each route tells what it is for, what it answers, and what it reads; each name is there."""
    schema = hub.described.schema
    assert schema["openapi"].startswith("3.1")
    names = []
    for path, operations in schema["paths"].items():
        for method, told in operations.items():
            names.append(told["operationId"])
            assert len(told["summary"]) > 5 and told["summary"][0].isupper(), path
            assert told["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
            assert "422" not in told["responses"]
            good = [told["responses"][code] for code in told["responses"] if code[0] == "2"]
            assert len(good) == 1 and good[0]["content"], (method, path)
            if path.startswith("/api/v2") and method in ("put", "patch"):
                assert told["requestBody"]["required"], path
            if path.startswith("/api/v2") and "application/json" in good[0]["content"]:
                shape = good[0]["content"]["application/json"]["schema"]
                name = shape["$ref"].rpartition("/")[2]
                assert "cursor" in schema["components"]["schemas"][name]["required"], path
    assert len(names) == len(set(names))
    for name in references(schema):
        section, _, found = name.removeprefix("#/components/").partition("/")
        assert found in schema["components"][section], name
    for name, model in schema["components"]["schemas"].items():
        Draft202012Validator.check_schema(model)
        assert model.get("description") or name in ("Staircase",) or "cursor" in model["properties"]


def references(found: Any) -> set[str]:
    """All `$ref`s in a schema."""
    if isinstance(found, dict):
        own = {found["$ref"]} if isinstance(found.get("$ref"), str) else set()
        return own.union(*(references(value) for value in found.values()))
    if isinstance(found, list):
        return set[str]().union(*(references(value) for value in found))
    return set()


def test_the_schema_is_valid_openapi(hub: Served) -> None:
    """By the published schema of the format, where its validator is installed."""
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(hub.described.schema)


def test_figures_tell_what_happened(hub: Served) -> None:
    """Well-formed, and they count."""

    def figures() -> dict[str, float]:
        text = hub.stranger.ask("GET", "/metrics").body.decode()
        rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        kinds = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert {name.partition("{")[0] for name, _ in rows} <= kinds
        return {name: float(value) for name, value in rows}

    before = figures()
    hub.agent("ada").post(f"{P}/channels", {"name": "talk"})
    hub.agent("ada").post(f"{P}/channels/talk/posts", {"content": "x"})
    hub.stranger.ask("GET", "/nowhere")
    after = figures()
    assert after["hub_posts_total"] == before["hub_posts_total"] + 1
    assert after['hub_answers_total{status="201"}'] >= 3
    assert (
        after['hub_answers_total{status="404"}']
        == before.get('hub_answers_total{status="404"}', 0) + 1
    )
    assert after['hub_commits{project="main",role="frontier"}'] == 0
    assert after['hub_database_bytes{file="hub.db"}'] > 0
    assert after["hub_disk_free_bytes"] > 0
