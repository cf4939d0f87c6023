"""The nanogpt lab's prepare.py: its judge, as train.py uses it."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")

from labs.prepare_lab import OPEN, Lab, prepare  # noqa: E402


@pytest.fixture(autouse=True)
def no_judge_is_left() -> Iterator[None]:
    """When a run hangs up, its judge ends."""
    yield
    while OPEN:
        link = OPEN.pop()._link
        link.wire.sock.close()
        link.judge.wait(10)


def test_batches(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are int64, y is x one token later; an epoch is every row once in a seeded order."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    data = prepare.open_rows(ready.folder() / "train", "train.bin")
    stream = judge.batches(len(data), "cpu", 1)
    first, second = next(stream), next(stream)
    x, y = first
    assert x.dtype == y.dtype == torch.int64
    assert x.shape == y.shape == (len(data), 32)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert judge.epoch == 2
    want = sorted(map(tuple, data.tolist()))
    for x, y in (first, second):
        assert sorted(map(tuple, torch.cat([x, y[:, -1:]], 1).tolist())) == want
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], next(judge.batches(len(data), "cpu", 1))[0])
    assert not torch.equal(first[0], next(judge.batches(len(data), "cpu", 2))[0])


def test_batches_of_any_size(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may cross the end of an epoch, or hold several epochs; no row is skipped for it."""
    pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    n = len(prepare.open_rows(ready.folder() / "train", "train.bin"))
    small, large = judge.batches(7, "cpu", 3), judge.batches(2 * n + 5, "cpu", 3)
    rows = [tuple(row) for _ in range(n) for row in next(small)[0].tolist()]
    assert Counter(rows).most_common()[0][1] >= 7
    assert rows[: 2 * n + 5] == [tuple(row) for row in next(large)[0].tolist()]


class Uniform:
    """A model that knows nothing, and notes what it is asked."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x):  # type: ignore[no-untyped-def]
        import torch

        self.shapes.append(tuple(x.shape))
        return torch.zeros(*x.shape, self.n_vocab)


def score(judge: Any, model: Any) -> float:
    """Start, train not at all, submit."""
    judge.start(model)
    return float(judge.submit(model))


def test_score_of_a_model_that_knows_nothing(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bytes as tokens, equal logits cost exactly log2(257) bits a byte: BOS does not count."""
    pytest.importorskip("torch")
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), VOCAB_SIZE=256)
    lab.ok()
    _, judge = lab.judge(monkeypatch)
    model = Uniform(judge.vocab_size)
    assert score(judge, model) == pytest.approx(math.log2(257), abs=1e-5)
    # one row before the start; then EVAL_TOKENS, three batches of probes, the first batch again
    assert model.shapes == [(1, 32)] + [(2, 32)] * (4 + 3 + 1)


def test_score_against_plain_arithmetic(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """val_bpb is summed nats over summed bytes of the targets, over ln 2; BOS is left out."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    table = torch.randn(
        judge.vocab_size, judge.vocab_size, generator=torch.Generator().manual_seed(0)
    )
    rows = prepare.open_rows(ready.folder() / "judge", "validation.bin")[:8].astype(np.int64)
    tok = prepare.Tokenizer(json.loads((ready.folder() / "train" / "tokenizer.json").read_text()))
    logits = table.double().numpy()
    nats = n_bytes = 0.0
    for row in rows:
        for before, after in itertools.pairwise(row):
            if after != tok.bos:
                nats += np.log(np.exp(logits[before]).sum()) - logits[before, after]
                n_bytes += len(tok.words[after])
    model = torch.nn.Embedding.from_pretrained(table)
    assert score(judge, model) == pytest.approx(nats / n_bytes / math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("nan", "non-finite logits"),
        ("inf", "non-finite logits"),
        ("-inf", "non-finite logits"),
        ("short", r"must return logits of shape \(2, 32, 300\) .* it returned \(2, 31, 300\)"),
        ("loss", "it returned float"),
    ],
)
def test_a_bad_answer_is_no_score(
    ready: Lab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    reason: str,
) -> None:
    """Logits that are not finite or of a wrong shape end the run with the reason, exit code 1."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)

    def model(x):  # type: ignore[no-untyped-def]
        logits = torch.zeros(*x.shape, judge.vocab_size)
        if len(x) == 1:  # the look before the start
            return logits
        if answer in ("nan", "inf", "-inf"):
            logits[1, 3, 5] = float(answer)
        return {"short": logits[:, 1:], "loss": 3.0}.get(answer, logits)

    judge.start(model)
    with pytest.raises(SystemExit) as stop:
        judge.submit(model)
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL: ")
    assert re.search(reason, out)


def test_bf16_logits_are_scored_in_float32(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-precision logits are accepted and widened before the softmax."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    model = torch.nn.Embedding(judge.vocab_size, judge.vocab_size).bfloat16()
    wide = torch.nn.Embedding.from_pretrained(model.weight.detach().float())
    _, again = ready.judge(monkeypatch)
    assert score(judge, model) == pytest.approx(score(again, wide), rel=1e-9)


def test_one_judge_scores_once(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the score the judge has ended: a second submission fails."""
    pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    score(judge, Uniform(judge.vocab_size))
    with pytest.raises(SystemExit):
        judge.submit(Uniform(judge.vocab_size))
    assert "the judge is gone" in capsys.readouterr().out


def test_seed_and_budget_come_from_the_harness(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTORESEARCH_SEED and _BUDGET are used where set; by hand it is 42 and TIME_BUDGET."""
    _, judge = ready.judge(monkeypatch)
    assert (judge.seed, judge.budget, judge.seq_len, judge.vocab_size) == (42, 20.0, 32, 300)
    _, judge = ready.judge(monkeypatch, AUTORESEARCH_SEED="7", AUTORESEARCH_BUDGET="1.5")
    assert (judge.seed, judge.budget) == (7, 1.5)


@pytest.mark.parametrize("value", ["x", "-1", "1.5"])
def test_a_bad_seed(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], value: str
) -> None:
    """A seed that is no whole number is refused by name."""
    with pytest.warns(ResourceWarning), pytest.raises(SystemExit):
        ready.judge(monkeypatch, AUTORESEARCH_SEED=value)
    assert "AUTORESEARCH_SEED" in capfd.readouterr().out


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_the_clock(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """The clock stands at zero until start, then never runs backwards."""
    pytest.importorskip("torch")
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), CLOCK=clock)
    lab.ok()
    _, judge = lab.judge(monkeypatch, AUTORESEARCH_BUDGET="0.1")
    assert judge.elapsed() == 0.0
    judge.start(Uniform(judge.vocab_size))
    seen = []
    while not seen or seen[-1] < judge.budget:
        seen.append(judge.elapsed())
    assert seen == sorted(seen)
    assert seen[0] >= 0


def test_judge_without_data(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training before preparing ends with the command to run, exit code 1."""
    with pytest.raises(SystemExit) as stop:
        lab.judge(monkeypatch)
    assert stop.value.code == 1
    assert "run: python prepare.py" in capsys.readouterr().out


def test_holdout_text_is_scored_and_not_told(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With AUTORESEARCH_SETS the verdict has both sets' scores; the run gets validation's."""
    torch = pytest.importorskip("torch")
    result = tmp_path / "verdict.json"
    _, judge = ready.judge(
        monkeypatch, AUTORESEARCH_SETS="validation,holdout", AUTORESEARCH_RESULT=str(result)
    )
    told = score(judge, torch.nn.Embedding(judge.vocab_size, judge.vocab_size))
    judge._link.judge.wait(10)
    verdict = json.loads(result.read_text())
    assert set(verdict["scores"]) == {"validation", "holdout"}
    assert verdict["metric"] == verdict["scores"]["validation"] == told
    assert verdict["scores"]["holdout"] != told


@pytest.mark.parametrize("name", ["judge/validation.bin", "train/tokenizer.json"])
def test_no_exam_on_changed_data(ready: Lab, name: str) -> None:
    """The judge refuses text or a tokenizer that is not what was recorded when it was prepared."""
    path = ready.folder() / name
    data = bytearray(path.read_bytes())
    if name.endswith(".json"):
        at = data.rindex(b'"tokens"') + 14
        data[at : at + 1] = b"1" if data[at : at + 1] != b"1" else b"2"
    else:
        data[2:200] = bytes(198)
    path.write_bytes(data)
    assert re.search("was changed|bytes that were recorded", ready.refused("judge"))


def test_a_batch_of_one_row_cannot_be_probed(tmp_path: Path, texts: Path) -> None:
    """EVAL_BATCH_SIZE 1 is rejected: the causality probe compares rows."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), EVAL_BATCH_SIZE=1)
    lab.ok()
    assert "EVAL_BATCH_SIZE is 1" in lab.refused("judge")
