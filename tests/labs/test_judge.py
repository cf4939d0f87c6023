"""The nanogpt lab's judge.py: the wire, the clock, the cross-entropy, and a whole examination."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

np = pytest.importorskip("numpy")

import autoresearch  # noqa: E402
from autoresearch.lab import constants  # noqa: E402

LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
SOURCE = (LAB / "judge.py").read_text(encoding="utf-8")


def load() -> ModuleType:
    """judge.py as a module."""
    module = ModuleType("lab_judge")
    sys.modules["lab_judge"] = module  # dataclasses look there
    exec(compile(SOURCE, "judge.py", "exec"), module.__dict__)
    return module


judge = load()
VOCAB, SEQ, ROWS = 50, 16, 4
Forward = Callable[[Any], Any]


# --- the wire ----------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """Two ends of a conversation; the second takes files."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        yield judge.Wire(ours), judge.Wire(theirs, takes_files=True)


def test_messages_arrive_one_by_one(pair: tuple[Any, Any]) -> None:
    """Lines that come together, or in pieces, are still one message each."""
    one, two = pair
    one.sock.sendall(b'{"a": 1}\n{"b": 2}\n{"c"')
    assert (two.receive(1), two.receive(1)) == ({"a": 1}, {"b": 2})
    one.sock.sendall(b": 3}\n")
    assert two.receive(1) == {"c": 3}


def test_silence_and_farewell(pair: tuple[Any, Any]) -> None:
    """Silence is a TimeoutError, a closed connection an EOFError."""
    one, two = pair
    with pytest.raises(TimeoutError):
        two.receive(0.05)
    one.sock.close()
    with pytest.raises(EOFError):
        two.receive(1)


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"hello",
        b"1",
        b'"start"',
        b"{",
        b"\xff\xfe{}",
        b"[" * 5000,
        b"9" * 5000,
        b"",
        b"\x80\x04\x95.",
    ],
)
def test_what_is_no_json_object_is_refused(pair: tuple[Any, Any], line: bytes) -> None:
    """A line that is no JSON object ends the conversation, whatever else it is."""
    one, two = pair
    one.sock.sendall(line + b"\n")
    with pytest.raises(judge.Refused, match="no JSON object") as refused:
        two.receive(1)
    assert refused.value.reason == "tampered"


def test_a_line_has_its_limit(pair: tuple[Any, Any]) -> None:
    """More than 64 KiB without an end of line are not read on and on."""
    one, two = pair
    one.sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        one.sock.sendall(b"x" * 150_000)
    with pytest.raises(judge.Refused, match="more than 65,536 bytes"):
        two.receive(1)


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_travel_one_way(pair: tuple[Any, Any]) -> None:
    """The run gets the judge's open files; what a run sends, the judge never holds."""
    one, two = pair
    fd = judge.shared_memory(8)
    judge.mapped(fd, (8,), np.uint8)[:] = 7
    one.send(files=(fd,), shape=1)
    assert two.receive(1) == {"shape": 1}
    assert judge.mapped(two.files[0], (8,), np.uint8).tolist() == [7] * 8
    before = open_files() if sys.platform == "linux" else 0
    two.send(files=(fd, fd, fd), hello=1)
    assert one.receive(1) == {"hello": 1}
    assert one.files == []
    if sys.platform == "linux":
        assert open_files() == before
    for open_file in (fd, *two.files):
        os.close(open_file)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_shared_memory_keeps_its_size() -> None:
    """A run cannot pull the memory away below its judge."""
    fd = judge.shared_memory(4096)
    for size in (0, 8192):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    os.close(fd)


# --- cross-entropy -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("vocab", [2, 257, 3000])
def test_nats_against_plain_arithmetic(scale: float, vocab: int) -> None:
    """Nats are -log softmax at the target, as plain arithmetic in double precision has it."""
    dice = np.random.default_rng(vocab)
    logits = (scale * dice.standard_normal((3, 100, vocab))).astype(np.float32)
    targets = dice.integers(vocab, size=(3, 100))
    wide = logits.astype(np.float64)
    top = wide.max(-1)
    wanted = top + np.log(np.exp(wide - top[..., None]).sum(-1))
    wanted -= np.take_along_axis(wide, targets[..., None], -1)[..., 0]
    found = judge.nats_of(logits, targets)
    np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6 * max(1.0, scale))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_score_as_arrays_do(dtype: str) -> None:
    """A GPU's tensors, here a processor's, give the nats of the same numbers in an array."""
    torch = pytest.importorskip("torch")
    dice = np.random.default_rng(0)
    logits = torch.from_numpy(dice.standard_normal((4, 50, 300))).to(getattr(torch, dtype))
    kept, targets = logits.clone(), dice.integers(300, size=(4, 50))
    wanted = judge.nats_of(logits.float().numpy().copy(), targets)
    np.testing.assert_allclose(judge.nats_of(logits, targets), wanted, rtol=1e-5)
    assert torch.equal(logits, kept)
    logits[1, 2, 3] = math.inf
    with pytest.raises(judge.Refused, match="non-finite"):
        judge.nats_of(logits, targets)


@pytest.mark.parametrize("shift", [-1e4, 50.0, 1e4])
def test_only_differences_count(shift: float) -> None:
    """Logits that are not normalised score as the softmax of them: a constant changes nothing."""
    dice = np.random.default_rng(0)
    logits = np.round(dice.standard_normal((8, 64)), 2).astype(np.float32)
    targets = dice.integers(64, size=8)
    moved = judge.nats_of(logits + np.float32(shift), targets)
    np.testing.assert_allclose(moved, judge.nats_of(logits, targets), atol=2e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["target", "other"])
def test_no_score_without_finite_logits(value: float, place: str) -> None:
    """One logit that is not finite, at the target or elsewhere, and there is no score."""
    logits = np.zeros((5, 10), np.float32)
    logits[2, 3] = value
    with pytest.raises(judge.Refused, match="non-finite") as refused:
        judge.nats_of(logits, np.full(5, 3 if place == "target" else 4))
    assert refused.value.reason == "invalid"


FLIPS = """
import mmap, numpy, sys
fd, rows, vocab = map(int, sys.argv[1:])
view = numpy.frombuffer(mmap.mmap(fd, rows * vocab * 4), numpy.float32).reshape(rows, vocab)
print("ready", flush=True)
while True:
    view[:, 0] = 103.0
    view[:, 0] = 0.0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a memfd")
def test_logits_that_change_while_they_are_read_are_still_a_softmax() -> None:
    """Even if the run writes meanwhile, each token's nats come from one row of logits."""
    rows, vocab = 512, 257
    fd = judge.shared_memory(rows * vocab * 4)
    logits = judge.mapped(fd, (rows, vocab), np.float32)
    logits[:, 0] = 103.0
    words = [sys.executable, "-c", FLIPS, str(fd), str(rows), str(vocab)]
    with subprocess.Popen(words, pass_fds=(fd,), stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        try:
            seen = [judge.nats_of(logits, np.ones(rows, np.int64)) for _ in range(300)]
        finally:
            other.kill()
    os.close(fd)
    found = np.concatenate(seen)
    high, low = abs(found - 103.0) < 1e-3, abs(found - math.log(257)) < 1e-3
    assert (high | low).all(), found[~(high | low)][:5]
    assert high.any() and low.any()


# --- the clock ---------------------------------------------------------------------------------

CLOCK = """
import sys
sys.path.insert(0, {lab!r})
import judge
clock = judge.Clock("cpu", int(sys.argv[1]), 0.0)
print(clock.root, flush=True)
for line in sys.stdin:
    print(clock.now(), flush=True)
"""
BURNS = """
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(36, 1)  # as the supervisor of a run: orphans come to us
def burn(seconds):
    while time.process_time() < seconds: pass
def child(seconds, detached=False):
    pid = os.fork()
    if pid == 0:
        if detached and os.fork(): os._exit(0)
        if detached: os.setsid()
        burn(seconds)
        os._exit(0)
    return pid
how = sys.argv[1]
sys.stdin.readline()
if how == "itself": burn(0.5)
if how == "child": os.waitpid(child(0.5), 0)
if how == "detached": child(0.5, True); time.sleep(1.5)
if how == "unwaited":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    child(0.5)
    time.sleep(1.5)
if how == "idle": time.sleep(0.5)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("how", ["itself", "child", "detached", "unwaited", "idle"])
def test_the_clock_counts_all_processes_of_the_run(how: str) -> None:
    """CPU time of children counts, also of detached ones and of zombies."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", BURNS, how], **pipes) as run:
        words = [sys.executable, "-c", CLOCK.format(lab=str(LAB)), str(run.pid)]
        with subprocess.Popen(words, **pipes) as clock:
            assert int(clock.stdout.readline()) == run.pid  # type: ignore[union-attr]
            before = told(clock)
            tell(run)
            assert run.stdout and run.stdout.readline() == "done\n"
            used = told(clock) - before
            clock.stdin.close()  # type: ignore[union-attr]
        run.stdin.close()  # type: ignore[union-attr]
    if how == "idle":
        assert used < 0.2
    else:
        assert 0.35 < used < 0.9


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def told(clock: subprocess.Popen[str]) -> float:
    assert clock.stdout
    tell(clock)
    return float(clock.stdout.readline())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_family_ends_where_the_judge_begins() -> None:
    """A run and its judge have a common ancestor: the run's family is all below it on its side."""
    nested = f"{sys.executable} -c 'import os; print(os.getpid(), flush=True); input()'; true"
    with subprocess.Popen(
        ["sh", "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout and run.stdin
        peer = int(run.stdout.readline())
        assert peer != run.pid
        code = f"import sys; sys.path.insert(0, {str(LAB)!r}); import judge; "
        code += f"print(judge.family({peer}))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert int(found.stdout) == run.pid
        run.stdin.write("\n")
    assert judge.parent(2**31 - 1) == 0


# --- a whole examination -----------------------------------------------------------------------

JUDGE = """
import json, sys
sys.path.insert(0, {folder!r})
import numpy, judge
told = json.loads(open({exam!r}).read())
sets = {{name: numpy.array(rows) for name, rows in told.pop("sets").items()}}
look = numpy.array(told.pop("look"))
lengths = numpy.array(told.pop("token_bytes"))
sys.exit(judge.main(judge.Exam(sets, lengths, look=look, **told)))
"""


class Room:
    """A place for one examination: the judge is a process, we are the run."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
        self.result = root / "verdict.json"
        self.constants = {k: fields.pop(k) for k in list(fields) if k.isupper()}
        dice = np.random.default_rng(0)
        self.sets = {
            name: dice.integers(VOCAB, size=(10 * ROWS, SEQ + 1))
            for name in fields.pop("names", ("validation",))
        }
        self.bytes = np.arange(VOCAB) % 4  # every fourth id does not count
        self.exam = {"rows": ROWS, "seed": 5, "budget": 0.2, "clock": "wall", "warm_up": 60.0}
        self.exam |= fields
        self.exam |= {"token_bytes": self.bytes.tolist(), "look": [[*range(SEQ + 1)]]}
        self.exam["sets"] = {name: rows.tolist() for name, rows in self.sets.items()}
        (root / "exam.json").write_text(json.dumps(self.exam))
        source = constants.replace(SOURCE, self.constants)
        (root / "judge.py").write_text(source)
        self.script = JUDGE.format(folder=str(root), exam=str(root / "exam.json"))
        monkeypatch.setenv("AUTORESEARCH_RESULT", str(self.result))
        monkeypatch.delenv("AUTORESEARCH_SOCKET", raising=False)
        self.link: Any = None

    def enter(self) -> Any:
        """Say hello."""
        self.link = judge.Link([sys.executable, "-c", self.script])
        return self.link

    def run(self, forward: Forward, train: Callable[[Any], None] = lambda _: None) -> float:
        """From hello to score."""
        link = self.enter()
        link.start(forward, write)
        train(link)
        return float(link.submit(forward, write))

    def verdict(self) -> dict[str, Any]:
        """What the judge wrote down before it ended."""
        self.link.judge.wait(20)
        assert not list(self.result.parent.glob("*.tmp"))
        return dict(json.loads(self.result.read_text()))

    def refusal(self, forward: Forward, train: Callable[[Any], None] = lambda _: None) -> str:
        """The reason that the run gets and that the verdict records."""
        with pytest.raises(judge.Refused) as refused:
            self.run(forward, train)
        assert self.verdict()["reason"] == refused.value.reason
        assert "metric" not in self.verdict()
        return f"{refused.value.reason}: {refused.value.detail}"

    def leave(self) -> None:
        """End what is left."""
        if self.link:
            self.link.wire.sock.close()
            self.link.judge.wait(20)


MakeRoom = Callable[..., Room]


@pytest.fixture
def make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRoom]:
    """Make a room: `make_room(budget=1.0, PAUSE=(0.1, 0.0))`; gone after the test."""
    rooms: list[Room] = []

    def make(**fields: Any) -> Room:
        rooms.append(Room(tmp_path, monkeypatch, **fields))
        return rooms[-1]

    yield make
    for room in rooms:
        room.leave()


def write(logits: Any, buffer: Any) -> None:
    buffer[:] = logits


def table(scale: float = 1.0) -> Any:
    """A model of one table: the logits after each id."""
    return (scale * np.random.default_rng(1).standard_normal((VOCAB, VOCAB))).astype(np.float32)


def honest(ids: Any) -> Any:
    return table()[ids]


def reference(room: Room, name: str = "validation") -> float:
    """Bits per byte of the honest model, in double precision, in this process."""
    rows, logits = room.sets[name], table().astype(np.float64)
    nats = np.log(np.exp(logits).sum(1))[rows[:, :-1]] - logits[rows[:, :-1], rows[:, 1:]]
    lengths = room.bytes[rows[:, 1:]]
    return float(nats[lengths > 0].sum() / lengths.sum() / math.log(2))


def test_an_honest_run_is_scored_as_arithmetic_has_it(make_room: MakeRoom) -> None:
    """The score is the float64 reference to 1e-6; the run gets seed and budget."""
    room = make_room()
    assert room.run(honest) == pytest.approx(reference(room), rel=1e-6)
    assert (room.link.told["seed"], room.link.told["budget"]) == (5, 0.2)
    verdict = room.verdict()
    assert verdict["metric"] == pytest.approx(reference(room), rel=1e-6)
    assert set(verdict["numbers"]) == {
        "judge_warm_up_seconds",
        "judge_training_seconds",
        "judge_evaluation_seconds",
        "judge_blind_gap",
        "judge_first_nats",
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_models_in_any_precision(make_room: MakeRoom, dtype: str) -> None:
    """On a CPU a half-precision model's logits are widened on their way; float32 is scored."""
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(table()).to(getattr(torch, dtype))
    room = make_room()

    def forward(ids: Any) -> Any:
        return weights[torch.from_numpy(ids.copy())].float().numpy()

    assert room.run(forward) == pytest.approx(reference(room), rel=5e-3)


def test_a_dtype_that_is_none(make_room: MakeRoom) -> None:
    """Logits of a type that the judge does not know are refused by name."""
    link = make_room().enter()
    with pytest.raises(judge.Refused, match="'object'; allowed are float32, bfloat16, float16"):
        link.start(honest, write, dtype="object")


def test_a_second_set_is_scored_and_not_told(make_room: MakeRoom) -> None:
    """Every set is scored; the run gets the first one's score only."""
    room = make_room(names=("validation", "holdout"))
    assert room.run(honest) == room.verdict()["metric"]
    scores = room.verdict()["scores"]
    assert scores["holdout"] == pytest.approx(reference(room, "holdout"), rel=1e-6)
    assert scores["holdout"] != scores["validation"]


def looks_ahead(distance: int, share: float = 1.0) -> Forward:
    """A model that raises the logit of an id that it should not know yet."""

    def forward(ids: Any) -> Any:
        logits = honest(ids)
        if len(ids) == 1:  # before the start it plays the innocent
            return logits
        ahead = np.roll(ids, -distance, axis=1)
        chosen = (ids * 7919) % 100 < 100 * share
        raised = np.take_along_axis(logits, ahead[..., None], -1) + 5.0 * chosen[..., None]
        np.put_along_axis(logits, ahead[..., None], raised, -1)
        return logits

    return forward


@pytest.mark.parametrize("distance", [1, 2, 7])
def test_who_looks_ahead_is_found(make_room: MakeRoom, distance: int) -> None:
    """A model whose logits depend on later ids is refused."""
    assert make_room().refusal(looks_ahead(distance)).startswith("tampered: not causal")


def test_who_looks_ahead_at_times_is_found(make_room: MakeRoom) -> None:
    """Even where every other position is honest, some probe meets one that is not."""
    assert make_room().refusal(looks_ahead(1, 0.5)).startswith("tampered: not causal")


def test_a_look_ahead_is_in_the_record(make_room: MakeRoom) -> None:
    """The last token of a row is in no input, so a model that looks ahead is worse at it."""
    room = make_room(TWINS=0, ALTERED=0)  # as if every probe were recognised
    room.run(looks_ahead(1))
    assert room.verdict()["numbers"]["judge_blind_gap"] > 1.0
    room.leave()
    room.run(honest)
    assert abs(room.verdict()["numbers"]["judge_blind_gap"]) < 1.0


def test_who_learns_from_the_questions_is_found(make_room: MakeRoom) -> None:
    """The first batch, repeated at the end, must get the same answer."""
    weights = table()

    def forward(ids: Any) -> Any:
        logits = weights[ids]
        weights[:] *= 0.98
        return logits

    assert make_room().refusal(forward).startswith("tampered: not repeatable")


def test_rounding_is_forgiven(make_room: MakeRoom) -> None:
    """Answers that differ in their last digits, as on a GPU, are the same answers."""
    dice = np.random.default_rng(3)

    def forward(ids: Any) -> Any:
        logits = honest(ids)
        return logits + 1e-4 * dice.standard_normal(logits.shape)

    room = make_room()
    assert room.run(forward) == pytest.approx(reference(room), rel=1e-4)


def test_who_knows_the_language_before_the_start_is_found(make_room: MakeRoom) -> None:
    """An untrained model that is good at training text has its weights from elsewhere."""

    def forward(ids: Any) -> Any:
        logits = np.zeros((*ids.shape, VOCAB), np.float32)
        np.put_along_axis(logits, (ids + 1)[..., None] % VOCAB, 9.0, -1)
        return logits

    room = make_room()
    assert "weights come from elsewhere" in room.refusal(forward)
    assert room.verdict()["numbers"]["judge_first_nats"] < 0.1


def test_a_late_submission(make_room: MakeRoom) -> None:
    """Beyond the budget and the grace of a last step there is no score."""
    room = make_room(GRACE=(0.1, 0.0))
    assert room.refusal(honest, lambda _: time.sleep(0.5)).startswith("overtime: submitted after")


def test_the_last_step_has_its_grace(make_room: MakeRoom) -> None:
    """A slightly late submission is scored, and its time is recorded."""
    room = make_room()
    room.run(honest, lambda _: time.sleep(0.5))
    assert room.verdict()["numbers"]["judge_training_seconds"] > 0.5


def slow(*seconds: float) -> Forward:
    """An honest model that takes its time, call by call; the last time is that of all others."""
    waits = list(seconds)

    def forward(ids: Any) -> Any:
        time.sleep(waits.pop(0) if len(waits) > 1 else waits[0])
        return honest(ids)

    return forward


def test_warming_up_has_its_limit(make_room: MakeRoom) -> None:
    """Neither before the start nor while the first look waits is there time to train."""
    room = make_room(warm_up=0.8)
    assert "not started within 0.8 s" in room.refusal(slow(1.5, 0.0))
    room.leave()
    link = room.enter()
    time.sleep(1.0)
    with pytest.raises(judge.Refused, match=r"not started within 0\.8 s"):
        link.start(honest, write)


def test_one_long_answer_is_no_answer(make_room: MakeRoom) -> None:
    """The time between submitting and the first answer is not for training."""
    room = make_room(PAUSE=(0.3, 0.0))
    assert room.refusal(slow(0.0, 0.8, 0.0)).startswith("overtime: one batch of the evaluation")


def test_many_slow_answers_are_no_answers(make_room: MakeRoom) -> None:
    """All answers together have a limit, however evenly they are slow."""
    room = make_room(ANSWERS=(0.3, 1.0))
    assert room.refusal(slow(0.0, 0.1)).startswith("overtime: the evaluation took")


def test_the_run_never_learns_the_targets(make_room: MakeRoom) -> None:
    """What the run writes into the buffer of ids changes no question's answer."""

    def forward(ids: Any) -> Any:
        logits = honest(ids)
        ids[:] = 0
        return logits

    room = make_room()
    assert room.run(forward) == pytest.approx(reference(room), rel=1e-6)


@pytest.mark.parametrize(
    "message",
    [
        {"submit": True},
        {"done": True},
        {"score": 0.5},
        {"elapsed": -5},
        {"metric": 0.1, "hello": 1},
        {},
    ],
)
def test_messages_out_of_turn(make_room: MakeRoom, message: dict[str, object]) -> None:
    """What is not due is refused: nothing is scored before the start."""
    room = make_room()
    link = room.enter()
    link.wire.send(**message)
    assert link.wire.receive(10)["refused"]["reason"] == "tampered"
    assert room.verdict()["reason"] == "tampered"


def test_a_run_that_hangs_up(make_room: MakeRoom) -> None:
    """A run that ends before its score leaves a verdict that says so."""
    room = make_room()
    room.enter().start(honest, write)
    room.leave()
    verdict = room.verdict()
    assert (verdict["reason"], "metric" in verdict) == ("no_metric", False)
    assert verdict["numbers"]["judge_first_nats"] > 0


def test_elapsed_stands_still_before_the_start(make_room: MakeRoom) -> None:
    """Time is zero until the start and grows from there."""
    link = make_room().enter()
    assert link.elapsed() == 0.0
    link.start(honest, write)
    time.sleep(0.1)
    assert link.elapsed() >= 0.1


def test_the_verdict_is_written_whole(make_room: MakeRoom) -> None:
    """A judge that is killed leaves no part of a verdict."""
    room = make_room()
    link = room.enter()
    link.start(honest, write)
    link.judge.send_signal(signal.SIGKILL)
    link.judge.wait()
    with pytest.raises(judge.Refused, match="the judge is gone"):
        link.submit(honest, write)
    assert not room.result.exists()


def test_nobody_listens(tmp_path: Path) -> None:
    """A run without a judge gets an error that names the socket."""
    with pytest.raises(judge.Refused, match="no judge answers at"):
        judge.reach(str(tmp_path / "nowhere"), patience=0.1)


def test_a_long_path_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket deeper than a system call takes is reached from a folder nearby."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(judge.short(str(deep / "judge.sock")))
        server.listen()
        judge.reach(str(deep / "judge.sock"), patience=1.0).close()
