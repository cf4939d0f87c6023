"""What the hub reports about itself: how an agent uses it, and figures for monitoring."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from agenthub.errors import Unauthorized
from agenthub.records.hub import Hub
from agenthub.records.projects import DEFAULT
from agenthub.server.api.context import TheHub, address_of, caller_of
from agenthub.server.api.openapi import named
from agenthub.server.feed import Feed
from agenthub.server.limits import is_here

router = APIRouter(tags=["about"], generate_unique_id_function=named("about"))

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

_TEXT = Path(__file__).with_name("llms.txt")


@router.get("/llms.txt", response_class=PlainTextResponse)
async def llms(request: Request, hub: TheHub) -> Response:
    """How an agent uses this hub, in plain words."""
    rules, settings = hub.projects.get(DEFAULT).rules, hub.settings
    text = Template(_TEXT.read_text()).substitute(
        base=str(request.base_url).rstrip("/"),
        slug=DEFAULT,
        registration=hub.accounts.registration,
        metric=rules.metric,
        direction=rules.direction,
        pushes=settings.pushes_per_hour,
        posts=settings.posts_per_hour,
        records=settings.records_per_hour,
        diffs=settings.diffs_per_hour,
        requests=settings.requests_per_minute,
        upload=f"{settings.mb_per_day:g}",
        quota=f"{settings.agent_quota_mb:g}",
        bundle=f"{settings.max_bundle_mb:g}",
    )
    return Response(text, media_type="text/plain; charset=utf-8")


# ---- figures -----------------------------------------------------------------------------------


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, hub: TheHub) -> Response:
    """Figures for Prometheus; for this machine itself, or with the admin's key."""
    headers = request.headers
    if "authorization" in headers or any(name in headers for name in _FORWARDED):
        caller = await caller_of(request)
        caller.need("admin")
    elif not is_here(address_of(request.scope)):
        raise Unauthorized("Figures are for this machine itself, or for the admin's key.")
    lines = [*_of_process(), *_of_server(request), *_of_hub(hub)]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _of_process() -> Iterator[str]:
    yield from _figure("process_cpu_seconds_total", "counter", [("", time.process_time())])
    statm, files = Path("/proc/self/statm"), Path("/proc/self/fd")
    if statm.exists():  # Linux
        resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        yield from _figure("process_resident_memory_bytes", "gauge", [("", resident)])
        yield from _figure("process_open_fds", "gauge", [("", len(list(files.iterdir())))])


def _of_server(request: Request) -> Iterator[str]:
    answers = sorted(request.app.state.answers.items())
    rows = [(f'{{status="{status}"}}', count) for status, count in answers]
    yield from _figure("hub_answers_total", "counter", rows)
    feed = getattr(request.app.state, "feed", None)
    count = feed.subscribers.taken if isinstance(feed, Feed) else 0
    yield from _figure("hub_subscribers", "gauge", [("", count)])


def _of_hub(hub: Hub) -> Iterator[str]:
    made = {row["name"]: row["seq"] for row in hub.database.rows("SELECT * FROM sqlite_sequence")}
    for name in ("agents", "events", "posts", "results", "verifications", "leases", "claims"):
        yield from _figure(f"hub_{name}_total", "counter", [("", made.get(name, 0))])
    commits, leaves, stored = [], [], []
    for project in hub.projects.page(limit=200):
        label, counts = f'project="{project.slug}"', project.counts
        frontier = counts.commits - counts.attempts
        commits += [(f'{{{label},role="frontier"}}', frontier)]
        commits += [(f'{{{label},role="attempt"}}', counts.attempts)]
        leaves += [(f"{{{label}}}", counts.leaves)]
        stored += [(f"{{{label}}}", hub.quotas.used(f"project:{project.id}"))]
    yield from _figure("hub_commits", "gauge", commits)
    yield from _figure("hub_leaves", "gauge", leaves)
    yield from _figure("hub_stored_bytes", "gauge", stored)
    main = hub.database.path
    paths = [path for path in (main, main.with_name(f"{main.name}-wal")) if path.exists()]
    files = [(f'{{file="{path.name}"}}', path.stat().st_size) for path in paths]
    yield from _figure("hub_database_bytes", "gauge", files)
    yield from _figure("hub_disk_free_bytes", "gauge", [("", shutil.disk_usage(hub.data).free)])


def _figure(name: str, kind: str, rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in rows:
        yield f"{name}{labels} {value}"
