"""Labels: none touches another, none hides the staircase, and none is wider than its box."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report.labels import shortened, text_width
from autoresearch.report.occupancy import Box, samples
from autoresearch.report.plan import HEIGHT, LABEL_SIZE, WIDTH, Plan
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, read_tsv
from report.made import MINIMIZE, made_story, real_results
from report.png import ink_widths


def studies() -> dict[str, Story]:
    """Made studies of many shapes, the same ones every time."""
    found = {"made": made_story()}
    for seed in range(6):
        draw, best = random.Random(seed), 1.0
        direction = "minimize" if seed % 2 else "maximize"
        sign, rows = (-1 if seed % 2 else 1), []
        for number in range([8, 30, 90, 200, 400, 60][seed]):
            if number == 0 or draw.random() < 0.2:
                best += sign * draw.random() * 0.02
                note = " ".join(
                    draw.choices(["WIDE", "illicit", "learning rate", "0.04", "深度"], k=4)
                )
                rows.append(Row(number, "", best, 0.0, Status.KEEP, note))
            else:
                worse = best - sign * abs(draw.gauss(0, 0.02))
                rows.append(Row(number, "", worse, 0.0, Status.DISCARD, "no"))
        found[f"{direction} {seed}"] = Story.of_rows("", Metric("m", direction), tuple(rows))  # type: ignore[arg-type]
    return found


def check(plan: Plan) -> None:
    """No two labels overlap, no leader cuts a label, all is inside, nothing covers the stairs."""
    for label in plan.labels:
        box = label.box
        assert box.x0 >= 0 and box.x1 <= WIDTH and box.y0 >= 0 and box.y1 <= HEIGHT
        assert box.x1 - box.x0 >= text_width(label.text, LABEL_SIZE) - 1e-6
        for x, y in _stairs(plan):
            assert not box.holds(x, y), f"{label.text} covers the staircase"
    for one, other in combinations(plan.labels, 2):
        assert not one.box.meets(other.box), f"{one.text} touches {other.text}"
        for first, second in ((one, other), (other, one)):
            if first.leader is not None:
                assert not any(second.box.holds(x, y) for x, y in samples(first.leader))


def _stairs(plan: Plan) -> list[tuple[float, float]]:
    """Places along the drawn staircase, half a pixel apart at most."""
    corners = [(plan.x(n), plan.height(v)) for n, v in plan.stairs()]
    places = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        places += [(x0 + (x1 - x0) * k / 200, y0) for k in range(201)]
        places += [(x1, y0 + (y1 - y0) * k / 200) for k in range(201)]
    return places


@pytest.mark.parametrize("name", studies())
def test_labels_do_not_collide(name: str) -> None:
    """In studies of every shape and both directions no label touches anything it must not."""
    check(Plan(studies()[name]))


def test_the_real_file_is_labelled_in_full() -> None:
    """All 23 kept trials of the real file have a label of their own, and none collides."""
    plan = Plan(Story.of_rows("", MINIMIZE, read_tsv(real_results())[1]))
    check(plan)
    assert len(plan.labels) == 23


def test_a_crowd_is_thinned_and_the_baseline_stays() -> None:
    """Where hundreds are kept, some have a label, the baseline among them."""
    rows = [
        Row(i, "", 1.0 - i / 400, 0.0, Status.KEEP, f"a long remark, number {i}")
        for i in range(300)
    ]
    plan = Plan(Story.of_rows("", MINIMIZE, rows))
    check(plan)
    assert 5 <= len(plan.labels) <= 40
    assert plan.labels[0].key == 0


def test_placing_is_repeatable() -> None:
    """The same study gives the same labels in the same places."""
    assert Plan(made_story()).labels == Plan(made_story()).labels


def test_text_is_not_wider_than_its_box() -> None:
    """Measured in pixels of a rendering, all kinds of text fit the width that was assumed."""
    texts = [
        "halve batch 524K to 262K", "warmdown 0.5 to 0.7", "FINAL_LR_FRAC 0.0 to 0.05",
        "SSSSL window pattern (5:1 short:long)", "WWWWMMMM", "iiiillll....", "tiny VE WD 0.001",
        "x0_lambda init 0.1 to 0.05", "é ü ñ ß", "a@b #3 50% & more…",
    ]  # fmt: skip
    for text, width in zip(texts, ink_widths(texts, LABEL_SIZE), strict=True):
        assert width <= text_width(text, LABEL_SIZE), text


def test_notes_are_shortened_at_words() -> None:
    """A closing parenthesis goes first, then the last words; a short note stays."""
    assert shortened("halve batch 524K to 262K (more steps in 5 min)") == "halve batch 524K to 262K"
    assert shortened("short (as is)") == "short (as is)"
    assert (
        shortened("use a hash table for all the lookups in the loop")
        == "use a hash table for all the lookups in…"
    )
    assert shortened("x" * 100) == "x" * 39 + "…"
    assert shortened("(" + "x" * 60 + ")") == "(" + "x" * 38 + "…"


def test_boxes_know_when_they_meet() -> None:
    """Edges may touch; a gap may be asked for."""
    one, other = Box(0, 0, 10, 10), Box(10, 0, 20, 10)
    assert not one.meets(other)
    assert one.meets(other, gap=1)
    assert one.meets(Box(9, 9, 12, 12))
