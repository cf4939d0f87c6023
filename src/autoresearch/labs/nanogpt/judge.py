"""
The judge: a process of its own, beside the run that it scores. This file is fixed, as prepare.py is.

The run (train.py) never sees the text it is scored on as text with answers, keeps no time and chooses no seed. It talks
to the judge over a Unix socket, in lines of JSON:

    run:   hello                            judge: the seed, the budget, the shape of a batch
    run:   start, my device                 judge: one look at the untrained model, then "go": the clock starts
    run:   elapsed?                         judge: so much of the budget is used
    run:   submit, my device and dtype      judge: batch after batch of token ids; the run answers with logits
                                            judge: the score

Token ids and logits travel in a shared buffer that the judge makes and the run attaches: memory that both map, or on a
GPU a block that both see (where that cannot be had: through the processor's memory). The judge alone holds the targets
and computes the cross-entropy, in float32. Nothing that the run sends is ever executed or unpickled: lines of at most
64 KiB are parsed as JSON, the rest are numbers.

    python prepare.py judge       what the harness starts; train.py by hand starts one for itself
"""

import array
import ctypes
import json
import math
import os
import random
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

import numpy as np

# ----------------------------------------------------------------------------------------------------------------------
# Constants

VERSION = 1
GRACE = (2.0, 0.03)   # seconds, and share of the budget, that a submission may be late: the last step has its length
PAUSE = (2.0, 0.02)   # seconds, and share of the budget, that one batch may take beyond three times the median
ANSWERS = (10.0, 1.0) # seconds, and share of the budget, that all answers about one set may take together
TWINS = 1             # batches per set of rows that begin alike: up to there the answers must be alike, too
ALTERED = 2           # batches per set that are sent twice, with another end: earlier answers must not change
PATIENCE = 600.0      # seconds (wall) to wait for a start where the clock counts processor time, which may stand still
LOOK = 0.05           # seconds between two looks at the processor time of the run's processes
KNOWS = 0.85          # of ln(vocabulary), in nats per token: an untrained model that is below has been trained before
SAME_MEAN = 1e-3      # nats per token: two answers to one question may differ by so much on average ...
SAME_MOST = 0.05      # ... and in one logit by so much, where they are as large as one (rounding in half precision)
MESSAGE = 2**16       # bytes of one line
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of logits on an accelerator; on a CPU always float32

class Refused(Exception):
    """There will be no score: why, in one word for the record and in one line for people."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail

@dataclass
class Exam:
    """The rows to score: [n, T+1] token ids, T inputs and the target of each, one later."""

    sets: dict[str, np.ndarray]     # name -> rows; the first is what steers, further ones are for the record only
    token_bytes: np.ndarray         # bytes of text that each id stands for; 0: it does not count
    rows: int                       # in a batch, always the same
    seed: int
    budget: float                   # seconds of training
    clock: str = "wall"             # "wall", or "cpu": processor seconds of the run and all its processes
    warm_up: float = 600.0          # seconds until the start, by the same clock: importing, compiling, warming up
    look: np.ndarray | None = None  # rows for the first look; training text, so that nothing of the sets is shown early

    @property
    def seq_len(self) -> int:
        return next(iter(self.sets.values())).shape[1] - 1

    @property
    def n_vocab(self) -> int:
        return len(self.token_bytes)

# ----------------------------------------------------------------------------------------------------------------------
# The wire: one line of JSON per message, with open files beside it where memory is shared

class Wire:
    """One end of the conversation. A line that is too long, is no JSON or no object ends it."""

    def __init__(self, sock: socket.socket, takes_files: bool = False):
        self.sock, self.takes_files, self.waiting, self.files = sock, takes_files, b"", []

    def send(self, files=(), **message) -> None:
        line = json.dumps(message).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        sent = self.sock.sendmsg([line], rights)
        if sent < len(line):
            self.sock.sendall(line[sent:])

    def receive(self, timeout: float | None = None) -> dict:
        """The next message; EOFError when the other side is gone, TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self.waiting:
            if len(self.waiting) > MESSAGE:
                raise Refused("tampered", f"a message to the judge has more than {MESSAGE:,} bytes")
            self.sock.settimeout(None if end is None else max(1e-3, end - time.monotonic()))
            space = socket.CMSG_SPACE(4 * 4) if self.takes_files else 0  # without room for them the kernel drops files
            data, rights, _, _ = self.sock.recvmsg(MESSAGE, space)
            for level, kind, body in rights:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.files += array.array("i", body[: len(body) // 4 * 4])
            if not data:
                raise EOFError
            self.waiting += data
        line, self.waiting = self.waiting.split(b"\n", 1)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Refused("tampered", f"the judge was sent what is no JSON object: {line[:60]!r}")
        return message

def short(path: str) -> str:
    """The shorter name of a socket: a system call takes about a hundred bytes of it."""
    return min(path, os.path.relpath(path), key=len)

# ----------------------------------------------------------------------------------------------------------------------
# Shared buffers. On a CPU: memory without a name, mapped by both. On a GPU: a block of its memory, opened by both.

def shared_memory(size: int) -> int:
    """An open file of `size` bytes in memory, without a name; on Linux it can neither grow nor shrink."""
    if hasattr(os, "memfd_create"):
        import fcntl
        fd = os.memfd_create("judge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd
    fd, name = tempfile.mkstemp()
    os.unlink(name)
    os.ftruncate(fd, size)
    return fd

def mapped(fd: int, shape, dtype) -> np.ndarray:
    """An array in shared memory; the file may be closed afterwards."""
    import mmap
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(fd, size), dtype=dtype).reshape(shape)

class DeviceMemory:
    """The few calls of CUDA, or of HIP, that share a block of GPU memory between processes."""

    def __init__(self):
        import torch
        self.kind = "hip" if torch.version.hip else "cuda"
        names = ["libamdhip64.so"] if torch.version.hip else [f"libcudart.so.{torch.version.cuda.split('.')[0]}"]
        torch.cuda.init()  # which loads the library, wherever it lies
        self.library = ctypes.CDLL(names[0])

    class Handle(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_char * 64)]

    def call(self, name: str, *arguments) -> None:
        if code := getattr(self.library, self.kind + name)(*arguments):
            raise OSError(f"{self.kind}{name} failed with {code}")

    def make(self, size: int) -> tuple[int, str]:
        """A new block: its address here, and what the other process opens it by."""
        address, handle = ctypes.c_void_p(), self.Handle()
        self.call("Malloc", ctypes.byref(address), ctypes.c_size_t(size))
        self.call("IpcGetMemHandle", ctypes.byref(handle), address)
        return address.value, bytes(handle).hex()

    def open(self, name: str) -> int:
        address = ctypes.c_void_p()
        handle = self.Handle.from_buffer_copy(bytes.fromhex(name))
        self.call("IpcOpenMemHandle", ctypes.byref(address), handle, ctypes.c_uint(1))
        return address.value

    def close(self, address: int) -> None:
        self.call("IpcCloseMemHandle", ctypes.c_void_p(address))

    def free(self, address: int) -> None:
        self.call("Free", ctypes.c_void_p(address))

def on_device(address: int, shape, dtype: str):
    """A tensor over a block of GPU memory, without a copy."""
    import torch
    code = {4: "<i4", 2: "<i2"}[DTYPES[dtype]]
    block = type("Block", (), {"__cuda_array_interface__": {
        "data": (address, False), "shape": tuple(shape), "typestr": code, "version": 3, "strides": None}})()
    return torch.as_tensor(block, device="cuda").view(getattr(torch, dtype))

# ----------------------------------------------------------------------------------------------------------------------
# The clock: the judge's own. It reads what the kernel counts, not what the run says.

class Clock:
    """Seconds of the budget. "cpu" counts the processor time of the run's whole family of processes: what else the
    machine does then matters little, and neither more threads nor children are free. Time begins when a run could
    begin: `since` for the wall's, for the processor's the birth of the family (by hand, when it brings us to life)."""

    def __init__(self, kind: str, peer: int, since: float):
        self.tick = 1 / os.sysconf("SC_CLK_TCK")
        self.root = family(peer) if kind == "cpu" and peer and os.path.isdir("/proc/self") else 0
        self.lock, self.seen, self.most = threading.Lock(), {}, 0.0
        self.began, self.born = None, 0.0 if self.root else since
        if self.root:
            self.born = self.processor() if self.root == os.getppid() else 0.0
            threading.Thread(target=self.watch, daemon=True).start()

    def start(self) -> None:
        self.began = self.now()

    def elapsed(self) -> float:
        return 0.0 if self.began is None else self.now() - self.began

    def now(self) -> float:
        return (self.processor() if self.root else time.monotonic()) - self.born

    def watch(self) -> None:
        """Sample all processes repeatedly: the CPU time of one that is never waited for is lost with it."""
        while True:
            self.processor()
            time.sleep(LOOK)

    def processor(self) -> float:
        """Processor seconds of all processes below `root` but the judge, the ended ones included."""
        with self.lock:
            total, waiting, me = 0.0, [self.root], os.getpid()
            while waiting:
                pid = waiting.pop()
                if pid == me:
                    continue
                try:
                    with open(f"/proc/{pid}/stat", "rb") as f:
                        fields = f.read().rpartition(b")")[2].split()
                    for thread in os.listdir(f"/proc/{pid}/task"):
                        with open(f"/proc/{pid}/task/{thread}/children", "rb") as f:
                            waiting += map(int, f.read().split())
                except OSError:
                    continue  # it ended this moment; its time is in its parent's
                own, ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
                total += own + ended
                self.seen[pid, fields[19]] = own  # field 19 is when it began: a pid may be used again
            self.most = max(self.most, total, sum(self.seen.values()))
            return self.most * self.tick

def family(peer: int) -> int:
    """The process whose descendants are the run: the last one above it that is not above the judge, too."""
    ours, here = {0, 1}, os.getpid()
    while here > 1:
        here = parent(here)
        ours.add(here)
    while peer not in ours and parent(peer) not in ours:
        peer = parent(peer)
    return peer

def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return int(f.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0

def peer_of(sock: socket.socket) -> int:
    """The process at the other end; 0 where that cannot be known."""
    if hasattr(socket, "SO_PEERCRED"):
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return 0

# ----------------------------------------------------------------------------------------------------------------------
# Cross-entropy, in float32, a cache's worth of logits at a time. Not finite: no score.

def nats_of(logits, targets: np.ndarray) -> np.ndarray:
    """Nats of each target, shape of `targets`; `logits` is [..., vocabulary], an array or a tensor on a GPU."""
    on_gpu = not isinstance(logits, np.ndarray)
    flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    step = max(1, (2**26 if on_gpu else 2**18) // flat.shape[-1])
    score = gpu_nats if on_gpu else cpu_nats
    parts = [score(flat[i : i + step], wanted[i : i + step]) for i in range(0, len(wanted), step)]
    nats = np.concatenate(parts)
    if not np.isfinite(nats).all():
        raise Refused("invalid", "non-finite logits")
    return nats.reshape(targets.shape)

@np.errstate(all="ignore")  # a value that is not finite shows in the result
def cpu_nats(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    part = logits.astype(np.float32)  # our own copy, read once: the run can write to what it shares with us at any time
    part -= part.max(axis=1)[:, None]
    least = part.min()
    at = np.take_along_axis(part, targets[:, None], axis=1)[:, 0]
    np.exp(part, out=part)
    nats = np.log(part.sum(axis=1)) - at
    return nats if np.isfinite(least) else np.full_like(nats, np.nan)

def gpu_nats(logits, targets: np.ndarray) -> np.ndarray:
    import torch
    part = logits.to(torch.float32, copy=True)  # our own copy, as above
    nats = torch.nn.functional.cross_entropy(part, torch.from_numpy(targets).to(part.device), reduction="none")
    return (nats + 0 * part.sum()).cpu().numpy()  # zero times what is not finite is not finite

# ----------------------------------------------------------------------------------------------------------------------
# The judge's side

class Examiner:
    """One run's examination, from hello to score."""

    def __init__(self, exam: Exam, sock: socket.socket, since: float):
        self.exam, self.wire = exam, Wire(sock)
        self.clock = Clock(exam.clock, peer_of(sock), since)
        self.ready_by = since + (max(PATIENCE, exam.warm_up) if self.clock.root else exam.warm_up)
        self.numbers: dict[str, float] = {}
        self.buffer = None  # of logits, [rows, T, vocabulary]; with it the ids, [rows, T]

    def examine(self) -> dict:
        """The whole conversation. Returns each set's score; raises Refused, or EOFError when the run is gone."""
        exam = self.exam
        try:
            if (version := self.expect("hello", self.left())["hello"]) != VERSION:
                raise Refused("invalid", f"the run speaks version {version!r:.20} of this protocol; it is {VERSION} here")
            self.wire.send(hello=VERSION, seed=exam.seed, budget=exam.budget, rows=exam.rows, seq_len=exam.seq_len,
                           vocab=exam.n_vocab)
            self.first_look(self.expect("start", self.left()))
        except TimeoutError:
            raise self.late() from None
        self.clock.start()
        self.numbers["judge_warm_up_seconds"] = self.clock.began
        if self.clock.began > exam.warm_up:
            raise self.late()
        self.wire.send(go=True)
        return self.evaluate(self.wait_for_submit())

    def left(self) -> float:
        return self.ready_by - time.monotonic()

    def late(self) -> Refused:
        return Refused("overtime", f"not started within {self.exam.warm_up:g} s: warming up has its own limit")

    def expect(self, kind: str, timeout: float | None) -> dict:
        message = self.wire.receive(timeout)
        if kind not in message:
            raise Refused("tampered", f"the judge expected {kind!r} and was sent {', '.join(message)[:60]!r}")
        return message

    def wait_for_submit(self) -> dict:
        exam, latest = self.exam, self.exam.budget * (1 + GRACE[1]) + GRACE[0]
        while True:
            message = self.wire.receive()
            used = self.clock.elapsed()
            if "submit" in message:
                self.numbers["judge_training_seconds"] = used
                if used > latest:
                    raise Refused("overtime", f"submitted after {used:.1f} s of a budget of {exam.budget:g} s")
                return message
            if "elapsed" not in message:
                raise Refused("tampered", f"the judge expected 'elapsed' or 'submit', not {list(message)[:3]}")
            self.wire.send(elapsed=used)

    # ---- buffers

    def open_buffers(self, wish: dict, rows: int) -> None:
        """Make the buffers for batches of `rows`, and tell the run how to attach them."""
        exam, shape = self.exam, (rows, self.exam.seq_len, self.exam.n_vocab)
        kind, dtype = str(wish.get("device", "cpu")), str(wish.get("dtype", "float32"))
        if dtype not in DTYPES:
            raise Refused("invalid", f"logits of type {dtype[:20]!r}; allowed are {', '.join(DTYPES)}")
        ids = shared_memory(rows * exam.seq_len * 8)
        self.ids = mapped(ids, shape[:2], np.int64)
        self.close_buffer()
        if kind == "cuda" and self.share_gpu(shape, dtype, ids):
            return
        logits = shared_memory(math.prod(shape) * 4)
        self.wire.send(files=(ids, logits), shape=shape, gpu="", dtype="float32")
        self.buffer, self.upload = mapped(logits, shape, np.float32), kind == "cuda" and has_gpu()
        os.close(logits)
        os.close(ids)

    def share_gpu(self, shape, dtype: str, ids: int) -> bool:
        """A block on the GPU, if both of us can open it."""
        try:
            self.memory = DeviceMemory()
            self.address, name = self.memory.make(math.prod(shape) * DTYPES[dtype])
        except (ImportError, AttributeError, OSError, RuntimeError, AssertionError):
            return False
        self.wire.send(files=(ids,), shape=shape, gpu=name, dtype=dtype)
        if not self.wire.receive().get("attached"):
            self.close_buffer()
            return False
        self.buffer, self.upload = on_device(self.address, shape, dtype), False
        os.close(ids)
        return True

    def close_buffer(self) -> None:
        self.buffer = None
        if getattr(self, "address", 0):
            self.memory.free(self.address)
            self.address = 0

    def logits(self):
        """What the run answered, where it can be scored."""
        if self.upload:  # the run's GPU could not be shared: score on ours all the same
            import torch
            return torch.from_numpy(self.buffer).cuda()
        return self.buffer

    # ---- questions

    def ask(self, ids: np.ndarray) -> None:
        self.ids[:] = ids
        self.wire.send(batch=True)

    def answered(self, timeout: float | None = None) -> None:
        self.expect("done", timeout)

    def first_look(self, wish: dict) -> None:
        """One row, before anything was learned: weights that know the language already come from elsewhere."""
        rows = next(iter(self.exam.sets.values())) if self.exam.look is None else self.exam.look
        row = rows[random.SystemRandom().randrange(len(rows))][None].astype(np.int64)
        self.open_buffers(wish, 1)
        self.ask(row[:, :-1])
        self.answered(self.left())
        nats = nats_of(self.logits(), row[:, 1:])[self.exam.token_bytes[row[:, 1:]] > 0].mean()
        self.numbers["judge_first_nats"] = float(nats)
        self.close_buffer()
        if nats < KNOWS * math.log(self.exam.n_vocab):
            raise Refused("tampered", f"before any training the loss is {nats:.2f}; a model that knows nothing has "
                                      f"{math.log(self.exam.n_vocab):.2f}: its weights come from elsewhere")

    def evaluate(self, wish: dict) -> dict:
        """Score every set; batches of one fixed shape, with two probes among them."""
        began, asked, exam = time.monotonic(), self.clock.now(), self.exam
        self.open_buffers(wish, exam.rows)
        self.took = [self.clock.now() - asked]
        scores = {name: self.score(name, rows) for name, rows in exam.sets.items()}
        slowest, usual = max(self.took), statistics.median(self.took)
        if slowest > 3 * usual + PAUSE[0] + PAUSE[1] * exam.budget:
            raise Refused("overtime", f"one batch of the evaluation took {slowest:.1f} s, the others {usual:.2f} s: "
                                      "the time between submitting and answering is not for training")
        total, most = sum(self.took), len(exam.sets) * (ANSWERS[0] + ANSWERS[1] * exam.budget)
        if total > most:
            raise Refused("overtime", f"the evaluation took {total:.1f} s, more than the {most:.0f} s that it may")
        self.numbers["judge_evaluation_seconds"] = time.monotonic() - began
        return scores

    def score(self, name: str, rows: np.ndarray) -> float:
        """Bits per byte of one set. Among its batches, at random places, a few that probe causality; at the
        end the first batch once more. While we score a batch, the run is at work on the next one already."""
        exam, plan = self.exam, self.plan(len(rows) // self.exam.rows)
        nats = n_bytes = n_tokens = 0.0
        blind = []  # nats of each row's last token: no input ever holds it, so no model can have seen it
        answers: dict[tuple, np.ndarray] = {}  # nats of the batches that are sent twice
        question = self.question(rows, *plan[0])
        self.ask(question[0])
        for turn, (kind, which) in enumerate(plan):
            ids, targets, cuts = question
            asked = self.clock.now()
            self.answered()
            self.took.append(self.clock.now() - asked)
            if turn + 1 < len(plan):
                question = self.question(rows, *plan[turn + 1])
                self.ask(question[0])  # its answer may be computed now, and written when we say "free"
            if kind == "twins":
                self.check_twins(self.logits(), targets, cuts)
            else:
                part, lengths = nats_of(self.logits(), targets), exam.token_bytes[targets]
                if kind == "altered" or any(other == which for _, other in plan if _ != "score"):
                    answers[kind, which] = part
                if kind == "altered":
                    self.cuts[which] = cuts
                if kind == "score":
                    nats += part[lengths > 0].astype(np.float64).sum()
                    n_bytes += int(lengths.sum())
                    n_tokens += int((lengths > 0).sum())
                    blind += part[:, -1][lengths[:, -1] > 0].tolist()
            self.wire.send(free=True)
        check_same(answers["score", 0], answers["again", 0])
        for kind, which in answers:
            if kind == "altered":
                check_before(answers["score", which], answers["altered", which], self.cuts[which])
        if 0 < len(blind) < n_tokens:  # for the record of the first set: about 0, much more where a model looks ahead
            others = (nats - sum(blind)) / (n_tokens - len(blind))
            self.numbers.setdefault("judge_blind_gap", sum(blind) / len(blind) - others)
        return nats / n_bytes / math.log(2)

    def plan(self, count: int) -> list[tuple[str, int]]:
        """The batches to send, in order: every batch; twins; some batches once more, with another end to every row; the first
        batch as it was, at last."""
        dice, self.cuts = random.SystemRandom(), {}
        plan = [("score", i) for i in range(count)]
        for probe in [("twins", -1)] * TWINS + [("altered", i) for i in dice.sample(range(count), min(ALTERED, count))]:
            plan.insert(dice.randrange(len(plan) + 1), probe)
        return plan + [("again", 0)]

    def question(self, rows: np.ndarray, kind: str, which: int):
        """(ids, targets, cuts). Twins are rows that begin as one of them does, each up to a column of its own; of an
        altered batch every row goes on with another text, from a column of its own on."""
        n, dice = self.exam.rows, random.SystemRandom()
        others = rows[dice.sample(range(len(rows)), n)].astype(np.int64)
        columns = np.array([[dice.randrange(1, self.exam.seq_len)] for _ in range(n)])
        if kind == "twins":
            one = dice.randrange(n)
            columns[one] = 0
            batch = np.where(np.arange(others.shape[1]) < columns, others[one], others)
            return batch[:, :-1].copy(), batch[:, 1:].copy(), (one, columns)
        batch = rows[which * n : (which + 1) * n].astype(np.int64)
        ids = batch[:, :-1].copy()
        if kind == "altered":
            ids = np.where(np.arange(ids.shape[1]) < columns, ids, others[:, :-1])
        return ids, batch[:, 1:].copy(), columns

    def check_twins(self, logits, targets: np.ndarray, cuts) -> None:
        """In one batch: up to where two rows are one text, their logits must be the same."""
        one, columns = cuts
        for other in range(len(targets)):
            column = int(columns[other, 0])
            if other == one:
                continue
            first, second = own(logits[one, :column]), own(logits[other, :column])
            gaps = abs(nats_of(first, targets[one, :column]) - nats_of(second, targets[one, :column]))
            most = float(abs(first - second).max())
            if gaps.sum() / max(column, 64) > SAME_MEAN or most > SAME_MOST * max(1.0, float(abs(first).max())):
                raise Refused("tampered", f"not causal: with another text after token {column} the logits before it "
                                          f"differ by up to {most:.3g}")

def check_before(real: np.ndarray, altered: np.ndarray, cuts: np.ndarray) -> None:
    """Compare two batches: later tokens must not change earlier answers. The last place would show it most."""
    gaps = abs(real - altered)
    before = gaps[np.arange(gaps.shape[1]) < cuts].mean()
    at = np.take_along_axis(gaps, cuts - 1, axis=1).mean()
    if before > SAME_MEAN or at > SAME_MOST:
        raise Refused("tampered", f"not causal: with another text later on, the loss before it differs by {before:.3g} "
                                  f"nats per token, by {at:.3g} in the last one")

def own(logits):
    """Our own copy of what the run can write to."""
    return logits.copy() if isinstance(logits, np.ndarray) else logits.clone()

def check_same(first: np.ndarray, again: np.ndarray) -> None:
    gap = abs(first - again).mean()
    if gap > SAME_MEAN:
        raise Refused("tampered", f"not repeatable: the first batch asked again differs by {gap:.3g} nats per token; "
                                  "a model may not learn from the evaluation")

def has_gpu() -> bool:
    try:
        import torch
        return torch.cuda.is_available()
    except ImportError:
        return False

def listen() -> socket.socket:
    """The socket that the harness, or train.py run by hand, has named."""
    if "AUTORESEARCH_SOCKET_FD" in os.environ:
        return socket.socket(fileno=int(os.environ["AUTORESEARCH_SOCKET_FD"]))
    path = os.environ["AUTORESEARCH_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(short(path))
        os.chmod(path, 0o777)  # a run in a sandbox may be another user; the folder keeps all others out
        server.listen(1)
        return server.accept()[0]  # one run, one connection: a later one is not accepted

def main(exam: Exam) -> int:
    """Judge one run; the verdict is one JSON object in the file that AUTORESEARCH_RESULT names."""
    since = time.monotonic()
    sock = listen()
    examiner = Examiner(exam, sock, since)
    try:
        scores = examiner.examine()
        verdict = {"metric": next(iter(scores.values())), "scores": scores}
        last = {"score": verdict["metric"]}
    except Refused as e:
        verdict = {"reason": e.reason, "detail": e.detail}
        last = {"refused": verdict}
    except (EOFError, OSError):
        verdict, last = {"reason": "no_metric", "detail": "the run ended before it was scored"}, {"refused": {}}
    write_verdict(verdict | {"numbers": examiner.numbers})  # before the run gets the answer: it may end at once
    tell(examiner.wire, last)
    sock.close()
    return 0

def tell(wire: Wire, last: dict) -> None:
    try:
        wire.sock.settimeout(5.0)
        wire.send(**last)
    except OSError:
        pass

def write_verdict(verdict: dict) -> None:
    if path := os.environ.get("AUTORESEARCH_RESULT"):
        with open(path + ".tmp", "w", encoding="utf-8") as f:
            json.dump(verdict, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(path + ".tmp", path)

# ----------------------------------------------------------------------------------------------------------------------
# The run's side. `forward(ids)` gives logits for ids [rows, T]; `write(logits, buffer)` puts them where they are read.

class Link:
    """What a run says to its judge. Without one in the environment it starts its own by `command`."""

    def __init__(self, command: list[str]):
        path = os.environ.get("AUTORESEARCH_SOCKET")
        self.wire = Wire(reach(path) if path else self.own(command), takes_files=True)
        self.wire.send(hello=VERSION)
        self.told = self.hear("hello", 120.0)
        self.ids = self.buffer = None
        self.asked, self.last = math.inf, 0.0  # before the start no time has passed

    def own(self, command: list[str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            env = os.environ | {"AUTORESEARCH_SOCKET_FD": str(theirs.fileno())}
            self.judge = subprocess.Popen(command, env=env, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        return ours

    def hear(self, *kinds: str, timeout: float | None = None) -> dict:
        """The next message, which must be of one of these kinds; what the judge refuses is raised here."""
        try:
            message = self.wire.receive(timeout)
        except (EOFError, OSError) as e:
            raise Refused("no_metric", f"the judge is gone ({type(e).__name__})") from None
        if refused := message.get("refused"):
            raise Refused(str(refused["reason"]), str(refused["detail"]))
        if not any(kind in message for kind in kinds):
            raise Refused("no_metric", f"the judge said {list(message)} when {' or '.join(kinds)} was due")
        return message

    def say(self, **message) -> None:
        try:
            self.wire.send(**message)
        except OSError:
            self.hear("nothing")  # it hung up: its last words say why
            raise

    def start(self, forward, write, device: str = "cpu", dtype: str = "float32") -> None:
        """Show the untrained model, then the clock starts."""
        self.say(start=True, device=device, dtype=dtype)
        self.attach()
        self.hear("batch")
        write(forward(self.ids), self.buffer)
        self.say(done=True)
        self.detach()
        self.hear("go")
        self.asked, self.last = time.monotonic(), 0.0

    def elapsed(self) -> float:
        """Seconds of the budget, as the judge counts them; requested ten times a second at most."""
        if time.monotonic() - self.asked >= min(0.1, 0.01 * self.told["budget"]):
            self.say(elapsed=True)
            self.last = float(self.hear("elapsed")["elapsed"])
            self.asked = time.monotonic()
        return self.last

    def submit(self, forward, write, device: str = "cpu", dtype: str = "float32") -> float:
        """Serve logits until the judge has enough. Returns the score, for the log: the judge has it already."""
        self.say(submit=True, device=device, dtype=dtype)
        self.attach()
        free = True
        while "score" not in (message := self.hear("batch", "free", "score")):
            if "free" in message:
                free = True
                continue
            logits = forward(self.ids)
            if not free:
                self.hear("free")  # it is still reading the last answer
            write(logits, self.buffer)
            self.say(done=True)
            free = False
        self.detach()
        return float(message["score"])

    def attach(self) -> None:
        """Open the buffers that the judge made; where its GPU memory cannot be opened it offers another way."""
        offer = self.hear("shape")
        if offer["gpu"]:
            try:
                self.memory = DeviceMemory()
                self.address = self.memory.open(offer["gpu"])
                self.buffer = on_device(self.address, offer["shape"], offer["dtype"])
            except (ImportError, AttributeError, OSError, RuntimeError, AssertionError):
                self.buffer = None
            self.say(attached=self.buffer is not None)
            if self.buffer is None:
                self.close_files()
                offer = self.hear("shape")
        files, shape = self.wire.files, offer["shape"]
        self.ids = mapped(files[0], shape[:2], np.int64)
        if not offer["gpu"]:
            self.buffer = mapped(files[1], shape, np.float32)
        self.close_files()

    def close_files(self) -> None:
        for fd in self.wire.files:
            os.close(fd)
        self.wire.files = []

    def detach(self) -> None:
        self.ids = self.buffer = None
        if getattr(self, "address", 0):
            self.memory.close(self.address)
            self.address = 0

def reach(path: str, patience: float = 60.0) -> socket.socket:
    """Connect to a judge that may still be starting."""
    end = time.monotonic() + patience
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(short(path))
            return sock
        except OSError as e:
            sock.close()
            if time.monotonic() > end:
                raise Refused("no_metric", f"no judge answers at {path}: {e}") from None
            time.sleep(0.02)
