"""The nanogpt lab's train.py: constants, presets, attention, model, optimizer, a whole run."""

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")

import autoresearch  # noqa: E402
from autoresearch.cli.scaffold import create_lab  # noqa: E402
from autoresearch.lab import constants  # noqa: E402
from autoresearch.lab.constants import Choices  # noqa: E402
from autoresearch.lab.task import Task  # noqa: E402

LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
SOURCE = (LAB / "train.py").read_text(encoding="utf-8")
KNOBS = {name: c for name, c in constants.read(SOURCE).items() if c.knob is not None}
PRESETS = tomllib.loads((LAB / "presets.toml").read_text(encoding="utf-8"))
VOCAB, SEQ = 300, 32
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and lose much where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def load(**values: object) -> ModuleType:
    """train.py with other constants, as a module; it trains nothing until main() is called."""
    module = ModuleType("lab_train")
    sys.path.insert(0, str(LAB))
    try:
        code = compile(constants.replace(SOURCE, values), "train.py", "exec")
        exec(code, module.__dict__)
    finally:
        sys.path.remove(str(LAB))
        sys.modules.pop("prepare", None)
        sys.modules.pop("judge", None)
    return module


def build(train: ModuleType, vocab: int = VOCAB, seq: int = SEQ) -> tuple[Any, Any]:
    """A float32 model and the step that trains it."""
    torch.manual_seed(0)
    model = train.GPT(vocab, seq)
    return model, train.Step(model, train.Optimizer(model), CPU)


def batch(rows: int, vocab: int = VOCAB, seq: int = SEQ) -> tuple[Any, Any]:
    ids = torch.randint(vocab, (rows, seq + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def every_value() -> list[tuple[str, object]]:
    """All the choices that are declared, and both ends of each range."""
    return [(name, value) for name, c in KNOBS.items() for value in worth_trying(c.knob)]


def worth_trying(knob: Any) -> tuple[object, ...]:
    return knob.values if isinstance(knob, Choices) else (knob.low, knob.high)


@pytest.mark.parametrize(("name", "value"), every_value())
def test_every_declared_value_trains(name: str, value: object) -> None:
    """Any one constant may take any value of its range: the model trains and its loss is finite."""
    model, step = build(load(**{"BATCH_ROWS": 2, "ORTHOGONAL_STEPS": 2, name: value}))
    x, y = batch(min(step.rows, 8))
    for progress in (0.0, 0.5):
        assert math.isfinite(step(x, y, 1.0, progress).item())
    with torch.no_grad():
        assert model(x).isfinite().all()


@pytest.mark.parametrize(
    "structure",
    [
        {"NORM": "sandwich", "BLOCK": "parallel"},
        {"BIGRAM": 5, "SMEAR": True, "DEPTH": 3},
        {"WINDOW_PATTERN": "SSSL", "DEPTH": 4, "KV_GROUP": 2},
        {"MATRICES": "adamw", "VALUE_EMBED": "all"},
        {"VARIANCE_BETA": 0.0, "MOMENTUM_WARMUP": 0.0},
        {"ACTIVATION": "swiglu", "WIDTH": 48, "HEAD_DIM": 128},
    ],
)
def test_structures_learn_a_batch(structure: dict[str, object]) -> None:
    """Structural choices together still learn: a batch seen again and again is predicted better."""
    _, step = build(load(BATCH_ROWS=4, **structure))
    x, y = batch(4)
    losses = [step(x, y, 0.3, 0.5).item() for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_baseline_leaves_something_to_find() -> None:
    """The shipped constants lie inside their ranges, and use neither token pairs nor smear."""
    assert constants.read(SOURCE)["BIGRAM"].value == 0
    assert constants.read(SOURCE)["SMEAR"].value is False
    assert 20 <= len(KNOBS) <= 30
    for constant in KNOBS.values():
        assert inside(constant.knob, constant.value), constant.name


def inside(knob: Any, value: Any) -> bool:
    return value in knob.values if isinstance(knob, Choices) else knob.low <= value <= knob.high


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_only_sets_constants(preset: str, tmp_path: Path) -> None:
    """A preset names constants and keys that exist, keeps their types, and stays inside ranges."""
    create_lab(tmp_path / "lab", "nanogpt", preset)
    for file in ("prepare.py", "train.py"):
        before = constants.read((LAB / file).read_text(encoding="utf-8"))
        after = constants.read((tmp_path / "lab" / file).read_text(encoding="utf-8"))
        wanted = PRESETS[preset][file]
        assert {name: after[name].value for name in wanted} == wanted
        assert {n: c.value for n, c in after.items() if n not in wanted} == {
            n: c.value for n, c in before.items() if n not in wanted
        }
        for name, constant in after.items():
            assert type(constant.value) is type(before[name].value), name
            assert constant.knob is None or inside(constant.knob, constant.value), name
    budget = Task.load(tmp_path / "lab").budget
    assert budget.seconds == PRESETS[preset]["prepare.py"]["TIME_BUDGET"]


def test_the_cpu_preset_is_what_the_files_say() -> None:
    """A lab made with no preset, and one made with the cpu preset, are the same."""
    for file in ("prepare.py", "train.py"):
        source = (LAB / file).read_text(encoding="utf-8")
        assert constants.replace(source, PRESETS["cpu"][file]) == source


def test_the_h100_preset_has_the_known_scale() -> None:
    """Depth 8, width 512, 524,288 tokens a step, context 2,048, vocabulary 8,192, 300 seconds."""
    data, model = PRESETS["h100"]["prepare.py"], PRESETS["h100"]["train.py"]
    assert (model["DEPTH"], model["WIDTH"]) == (8, 512)
    assert model["BATCH_ROWS"] * data["MAX_SEQ_LEN"] == 524_288
    assert (data["MAX_SEQ_LEN"], data["VOCAB_SIZE"], data["TIME_BUDGET"]) == (2048, 8192, 300)
    assert data["EVAL_TOKENS"] == 40 * 524_288


# Attention


@pytest.mark.parametrize(
    ("length", "window"), [(32, 8), (30, 8), (32, 1), (33, 16), (8, 7), (8, 8)]
)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_a_window_is_the_dense_mask(length: int, window: int, kv_heads: int) -> None:
    """Block-local attention, and its gradient, equal attention with the full mask of the window."""
    train = load()
    q = torch.randn(2, length, 4, 16, requires_grad=True)
    k, v = (torch.randn(2, length, kv_heads, 16, requires_grad=True) for _ in range(2))
    back = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    wide = (t.repeat_interleave(4 // kv_heads, dim=2).transpose(1, 2) for t in (k, v))
    scores = q.transpose(1, 2) @ next(wide).mT / 4
    dense = scores.masked_fill((back < 0) | (back >= window), -math.inf).softmax(-1) @ next(wide)
    made = train.attend_sdpa(q, k, v, window)
    torch.testing.assert_close(made, dense.transpose(1, 2), atol=1e-5, rtol=1e-4)
    seed = torch.randn_like(made)
    for ours, theirs in zip(
        torch.autograd.grad(made, (q, k, v), seed, retain_graph=True),
        torch.autograd.grad(dense.transpose(1, 2), (q, k, v), seed),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


# Model


@pytest.mark.parametrize(
    "structure", [{}, {"WINDOW_PATTERN": "SL"}, {"BIGRAM": 1, "SMEAR": True, "DEPTH": 3}]
)
def test_no_position_sees_its_future(structure: dict[str, object]) -> None:
    """Other tokens from some position on leave all logits before it as they were."""
    model, step = build(load(BATCH_ROWS=4, **structure))
    x, y = batch(4)
    for _ in range(5):  # an untrained model ignores its context, whatever it could see
        step(x, y, 1.0, 0.5)
    other = x.clone()
    other[:, 20:] = (other[:, 20:] + 7) % VOCAB
    with torch.no_grad():
        one, two = model(x), model(other)
    torch.testing.assert_close(one[:, :20], two[:, :20], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(one[:, 20:], two[:, 20:])


@pytest.mark.parametrize("cap", [0, 15])
def test_evaluation_gives_the_logits_of_training(cap: int) -> None:
    """The memory-saving path of evaluation changes no number; capped logits span twice the cap."""
    model, step = build(load(SOFTCAP=cap, BATCH_ROWS=2))
    x, y = batch(2)
    step(x, y, 1.0, 0.0)
    training = model(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(x), training)
    assert training.shape == (2, SEQ, VOCAB) and training.dtype == torch.float32
    if cap:
        assert training.min() >= 0 and training.max() <= 2 * cap


def test_training_in_half_precision_gives_numbers() -> None:
    """With bf16 activations the logits are float32 and near those of float32."""
    model, step = build(load(BATCH_ROWS=2))
    x, y = batch(2)
    step(x, y, 1.0, 0.0)
    with torch.no_grad():
        exact = model(x)
        model.dtype = torch.bfloat16
        torch.testing.assert_close(model(x), exact, atol=0.2, rtol=0.05)
    assert math.isfinite(step(x, y, 1.0, 0.1).item())


class Kept:
    """An optimizer that keeps the gradients it is given and moves nothing."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.gradients: list[Any] = []

    def step(self, scale: float, progress: float) -> None:
        self.gradients = [p.grad.clone() for p in self.model.parameters()]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 50])
def test_accumulation_is_the_whole_batch(rows: int) -> None:
    """However a batch of seven is cut, the loss and all gradients are those of plain training."""
    model, step = build(load(BATCH_ROWS=7))
    x, y = batch(7)
    step(x, y, 1.0, 0.0)  # from zero outputs, most gradients would be zero
    plain = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    wanted = torch.autograd.grad(plain, list(model.parameters()))
    step.rows, step.slice, step.optimizer = rows, 5, Kept(model)
    torch.testing.assert_close(step(x, y, 1.0, 0.0), plain.detach())
    for ours, theirs in zip(step.optimizer.gradients, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


# Optimizer


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 64, 16), (2, 16, 64), (1, 1, 8)])
def test_orthogonalise_brings_singular_values_to_one(shape: tuple[int, ...]) -> None:
    """Singular values a hundredfold apart come out near 1, and the directions stay."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = torch.logspace(-2, 0, u.size(-1))
    made = load().orthogonalise(u * spread @ v)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.8 and values.max() < 1.2
    torch.testing.assert_close(made, u @ v, atol=0.2, rtol=0)


def test_muon_moves_matrices_and_adamw_the_rest() -> None:
    """A step moves a matrix by about its rate in every direction, a table in every number."""
    train = load(BATCH_ROWS=2, MATRIX_DECAY=0.0)
    model, step = build(train)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    x, y = batch(2)
    step(x, y, 1.0, 1.0)  # the blocks' outputs begin at zero: only these have gradients now
    step(x, y, 1.0, 1.0)
    moved = {name: (p.detach() - before[name]) for name, p in model.named_parameters()}
    values = torch.linalg.svdvals(moved["blocks.0.mlp.out.weight"])
    assert values.max() < 6 * train.MATRIX_LR
    assert values.median() > 0.3 * train.MATRIX_LR
    head = moved["head.weight"].abs() / (train.HEAD_LR * (train.WIDTH / 768) ** -0.5)
    assert 0.5 < head.median() < 2.5
    seen = torch.zeros(VOCAB, dtype=torch.bool).index_fill(0, x.flatten(), True)
    assert moved["embed.weight"][~seen].abs().max() < 0.01 * moved["embed.weight"][seen].abs().max()


def test_every_parameter_is_trained_by_one_group() -> None:
    """No parameter is forgotten, none is trained twice, whatever is switched on."""
    train = load(BIGRAM=1, SMEAR=True, ACTIVATION="swiglu", VALUE_EMBED="all")
    model = train.GPT(VOCAB, SEQ)
    trained = [id(p) for group in train.Optimizer(model).param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())


def test_decay_shrinks_the_matrices() -> None:
    """Weight decay shrinks: with it, the matrices end smaller than without."""
    norms = []
    for decay in (0.0, 0.6):
        model, step = build(load(BATCH_ROWS=2, MATRIX_DECAY=decay))
        x, y = batch(2)
        for _ in range(10):
            step(x, y, 1.0, 0.0)
        norms.append(sum(p.detach().square().sum().item() for p in model.blocks.parameters()))
    assert norms[1] < norms[0]


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_schedule(shape: str) -> None:
    """Rates rise over the warm-up, stay at 1, fall to the final rate, and never leave 0..1."""
    train = load(SCHEDULE=shape, WARMUP=0.1, WARMDOWN=0.5, FINAL_LR=0.1)
    scales = [train.lr_scale(i / 100) for i in range(101)]
    assert scales[0] < 0.02 and scales[30] == 1.0
    assert scales[100] == pytest.approx(0.1)
    assert scales[50:] == sorted(scales[50:], reverse=True)
    assert all(0 < scale <= 1 for scale in scales)
    assert train.lr_scale(1.2) == pytest.approx(0.1)


# Warm-up


def test_warm_up_leaves_nothing_behind() -> None:
    """After the warm-up, weights and optimizer are as they were before it."""
    train = load(BATCH_ROWS=3)
    model, step = build(train)
    before = [p.detach().clone() for p in model.parameters()]
    train.warm_up(step, model, SimpleNamespace(vocab_size=VOCAB, seq_len=SEQ), CPU)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    for group in step.optimizer.param_groups:
        for name in set(group) & {"momentum", "memory", "first", "second", "steps"}:
            assert not any(state.any() for state in group[name])


def test_warm_up_finds_the_rows_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """When memory runs out the part of a batch in memory is halved until it fits."""
    train = load(BATCH_ROWS=16)
    model, step = build(train)

    def features(ids: Any) -> Any:
        if len(ids) > 3:
            torch.empty(2**50)  # more than any machine has
        return model.features(ids)

    step.features = features
    train.warm_up(step, model, SimpleNamespace(vocab_size=VOCAB, seq_len=SEQ), CPU)
    assert step.rows == 2
    assert "out of memory: trying 2 sequences" in capsys.readouterr().out


def test_other_errors_of_the_warm_up_are_not_hidden() -> None:
    """A mistake in the model is not taken for a lack of memory."""
    train = load(BATCH_ROWS=4)
    model, step = build(train)
    step.features = lambda ids: model.features(ids[:, :, None])
    with pytest.raises((RuntimeError, ValueError)):
        train.warm_up(step, model, SimpleNamespace(vocab_size=VOCAB, seq_len=SEQ), CPU)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", math.inf),
        ("NVIDIA RTX A4000", math.inf),
        ("cpu", math.inf),
    ],
)
def test_peak_flops(name: str, tflops: float) -> None:
    """A GPU's peak is found by a whole word of its name; an unknown one's is infinite: MFU 0."""
    assert load().peak_flops(name) == 1e12 * tflops


# A run from end to end


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small lab on text of its own, its data prepared in a cache of its own."""
    root = tmp_path_factory.mktemp("nanogpt")
    text = root / "text"
    text.mkdir()
    rng = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdklm" for b in "aeiou" for c in ("n", "r", "st", "")]
    for i in range(60):
        lines = (" ".join(rng.choices(words, k=12)) for _ in range(60))
        (text / f"{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    values = {
        "DATASET": "local",
        "LOCAL_PATH": str(text),
        "VOCAB_SIZE": VOCAB,
        "MAX_SEQ_LEN": SEQ,
        "EVAL_TOKENS": 1024,
        "EVAL_BATCH_SIZE": 2,
    }
    source = (LAB / "prepare.py").read_text(encoding="utf-8")
    (root / "prepare.py").write_text(constants.replace(source, values), encoding="utf-8")
    shutil.copy(LAB / "judge.py", root)
    done = run(root, "prepare.py")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def run(
    root: Path, script: str, budget: float = 2.0, seed: int = 7
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "AUTORESEARCH_CACHE": str(root / "cache"),
        "AUTORESEARCH_SEED": str(seed),
        "AUTORESEARCH_BUDGET": str(budget),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, script], cwd=root, env=env, capture_output=True, text=True, timeout=100
    )


def train_with(
    root: Path, budget: float = 2.0, **values: object
) -> subprocess.CompletedProcess[str]:
    (root / "train.py").write_text(constants.replace(SOURCE, values), encoding="utf-8")
    return run(root, "train.py", budget)


def test_a_run_prints_its_progress_and_its_summary(prepared: Path) -> None:
    """Two seconds of training print whole progress lines, then the block, and learn something."""
    done = train_with(prepared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\r" not in done.stdout
    steps = [line for line in done.stdout.splitlines() if line.startswith("step ")]
    form = r"step \d+ \| progress [\d.]+% \| loss [\d.]+ \| lr [\d.]+ \| tok/s [\d,]+ \| epoch \d+"
    assert len(steps) > 5 and all(re.fullmatch(form, line) for line in steps)
    block = dict(line.split(": ", 1) for line in done.stdout.split("---\n")[1].splitlines())
    assert list(block) == [
        "val_bpb",
        "training_seconds",
        "total_seconds",
        "peak_vram_mb",
        "mfu_percent",
        "total_tokens_M",
        "num_steps",
        "num_params_M",
        "depth",
        "seed",
    ]
    assert re.fullmatch(r"\d+\.\d{6}", block["val_bpb"].strip())
    summary = {name: float(value) for name, value in block.items()}
    assert summary["seed"] == 7 and summary["depth"] == 2
    assert 2.0 <= summary["training_seconds"] < 4.0
    assert summary["num_steps"] > 5 and summary["peak_vram_mb"] > 0
    assert summary["val_bpb"] < 4.0  # letters and spaces at random need more


def test_a_loss_that_explodes_ends_the_run(prepared: Path) -> None:
    """A diverging run ends early with FAIL and the reason, and prints no score."""
    done = train_with(prepared, budget=60.0, HEAD_LR=1e9, EMBED_LR=1e9, SOFTCAP=0)
    assert done.returncode == 1
    assert re.search(r"^FAIL: loss is .* at step \d+; the training diverged", done.stdout, re.M)
    assert "val_bpb" not in done.stdout


def test_nan_ends_the_run(prepared: Path) -> None:
    """A model that gives NaN from the start is refused before it trains."""
    done = train_with(prepared, budget=60.0, X0_INIT=3e38)
    assert done.returncode == 1
    assert re.search(r"^FAIL: non-finite logits", done.stdout, re.M)


def test_no_memory_is_called_by_its_name(prepared: Path) -> None:
    """A model that is too large ends with FAIL: out of memory, not with a traceback."""
    done = train_with(prepared, BIGRAM=2**40)
    assert done.returncode == 1
    assert "FAIL: out of memory" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_seed_is_a_run(prepared: Path) -> None:
    """The seed of the environment decides: the same one starts alike, another one differently."""
    source = constants.replace(SOURCE, {})
    (prepared / "train.py").write_text(source, encoding="utf-8")
    firsts = [
        re.search(r"^step 1 .*?loss (\S+)", run(prepared, "train.py", 0.3, seed).stdout, re.M)
        for seed in (1, 1, 2)
    ]
    losses = [first.group(1) for first in firsts if first]
    assert losses[0] == losses[1] != losses[2]


def test_importing_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Loading train.py as a module prints nothing and starts nothing."""
    load()
    assert json.dumps(capsys.readouterr()) == '["", ""]'
