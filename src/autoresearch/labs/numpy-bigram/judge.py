"""
The judge of the numpy-bigram lab, and how a run talks to it. This file is fixed.

    python judge.py       what the harness starts beside every run; train.py by hand starts one for itself

Two processes talk over a Unix socket, a line of JSON per message (AutoResearch's docs/judge.md has all of it):

    run:   hello             judge: the seed, the budget, the shapes
    run:   start             judge: one look at the untrained model, then "go": its clock starts
    run:   elapsed           judge: so many seconds are used
    run:   submit            judge: batch after batch of bytes; the run answers with logits; then the score

Bytes and logits travel in memory that both processes map. The judge alone knows which byte came next.
"""

import json
import math
import mmap
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

import prepare

import numpy as np

ROWS = 16             # in a batch, always the same
BUDGET = 3.0          # seconds of training, where the harness names none
WARM_UP = 60.0        # seconds from hello to start
GRACE = 1.0           # seconds that a submission may be late
ANSWERING = 20.0      # seconds that all answers together may take: that time is not for training
KNOWS = 0.85          # of log(256): an untrained model that is better than this has been trained before
PROBES = 4            # batches of a set that are sent twice: a model that looks ahead in some batches may miss one
SAME = 1e-3           # nats: two answers to one question may differ by so much
MOST = 2**16          # bytes of one message

class Refused(Exception):
    """There will be no score. Arguments: the reason in a word for the record, the detail in a line for people."""

# ----------------------------------------------------------------------------------------------------------------------
# Both sides: lines of JSON, and memory that two processes share

class Lines:
    """One end of the conversation."""

    def __init__(self, sock):
        self.sock, self.rest, self.files = sock, b"", []

    def say(self, files=(), **message):
        line = json.dumps(message).encode() + b"\n"
        socket.send_fds(self.sock, [line], files) if files else self.sock.sendall(line)

    def hear(self, files=0):
        """The next message, with at most so many files. EOFError: the other side is gone."""
        while b"\n" not in self.rest:
            if len(self.rest) > MOST:
                raise Refused("tampered", f"a message of more than {MOST} bytes")
            data, came, _, _ = socket.recv_fds(self.sock, MOST, files) if files else (self.sock.recv(MOST), [], 0, 0)
            if not data:
                raise EOFError
            self.rest, self.files = self.rest + data, self.files + came
        line, self.rest = self.rest.split(b"\n", 1)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Refused("tampered", f"not a JSON object: {line[:60]!r}")
        return message

def share(size):
    """An open file of `size` bytes that lies in memory and has no name."""
    fd = os.memfd_create("judge") if hasattr(os, "memfd_create") else os.dup(tempfile.TemporaryFile().fileno())
    os.truncate(fd, size)
    return fd

def attach(fd, shape, dtype):
    """The file as an array: what one process writes here, the other reads."""
    array = np.frombuffer(mmap.mmap(fd, math.prod(shape) * np.dtype(dtype).itemsize), dtype=dtype).reshape(shape)
    os.close(fd)
    return array

def short(path):
    """A socket's name may have about a hundred bytes: take the shorter way to write it."""
    return min(path, os.path.relpath(path), key=len)

# ----------------------------------------------------------------------------------------------------------------------
# The judge's side

class Judge:
    """Examines one run. `sets` is name -> rows [n, T + 1]; the first set decides."""

    def __init__(self, sock, sets, seed, budget):
        self.lines, self.sets, self.seed, self.budget = Lines(sock), sets, seed, budget
        self.first = next(iter(sets.values()))
        self.seq_len = self.first.shape[1] - 1
        self.answering = 0.0  # seconds
        self.numbers = {}     # for the record

    def examine(self):
        """From hello to the score of every set, in bits per byte."""
        if (version := self.expect("hello")["hello"]) != 1:
            raise Refused("invalid", f"the run speaks version {version!r:.20} of the protocol, this judge version 1")
        self.lines.say(hello=1, seed=self.seed, budget=self.budget, rows=ROWS, seq_len=self.seq_len,
                       vocab=prepare.VOCAB)
        self.expect("start", patience=WARM_UP)
        self.first_look()
        began = time.monotonic()  # the only clock that counts
        self.lines.say(go=True)
        while "submit" not in self.expect("elapsed", "submit"):
            self.lines.say(elapsed=time.monotonic() - began)
        used = self.numbers["judge_training_seconds"] = time.monotonic() - began
        if used > self.budget + GRACE:
            raise Refused("overtime", f"submitted after {used:.1f} s of a budget of {self.budget:g} s")
        self.open_buffers(ROWS)
        return {name: self.score(rows) for name, rows in self.sets.items()}

    def expect(self, *kinds, patience=None):
        self.lines.sock.settimeout(patience)
        try:
            message = self.lines.hear()
        except TimeoutError:
            raise Refused("overtime", f"no {' or '.join(kinds)} within {patience:.0f} s") from None
        self.lines.sock.settimeout(None)
        if not any(kind in message for kind in kinds):
            raise Refused("tampered", f"sent {list(message)[:3]} when {' or '.join(kinds)} was due")
        return message

    def open_buffers(self, rows):
        shape = (rows, self.seq_len, prepare.VOCAB)
        files = share(math.prod(shape[:2]) * 8), share(math.prod(shape) * 4)
        self.lines.say(files=files, shape=shape, gpu="", dtype="float32")
        self.ids, self.logits = attach(files[0], shape[:2], np.int64), attach(files[1], shape, np.float32)

    def ask(self, ids, targets):
        """Nats of each target, [rows, T], by the logits with which the run answers."""
        self.ids[:] = ids
        asked = time.monotonic()
        self.lines.say(batch=True)
        self.expect("done", patience=ANSWERING)
        self.answering += time.monotonic() - asked
        logits = self.logits.astype(np.float64)  # a copy: what the run writes from now on changes nothing
        if not np.isfinite(logits).all():
            raise Refused("invalid", "non-finite logits in the evaluation")
        logits -= logits.max(axis=-1, keepdims=True)
        at = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return np.log(np.exp(logits).sum(axis=-1)) - at

    def first_look(self):
        """One row, before anything was learned: weights that know the language already come from elsewhere."""
        row = self.first[[random.SystemRandom().randrange(len(self.first))]]
        self.open_buffers(1)
        nats = self.numbers["judge_first_nats"] = float(self.ask(row[:, :-1], row[:, 1:]).mean())
        if nats < KNOWS * math.log(prepare.VOCAB):
            raise Refused("tampered", f"the untrained model has a loss of {nats:.2f}: its weights come from elsewhere")
        self.answering = 0.0

    def plan(self, count):
        """The batches to send, in order: every batch, some again with another end, the first again."""
        dice = random.SystemRandom()
        plan = [("score", i) for i in range(count)]
        for i in dice.sample(range(count), min(PROBES, count)):
            plan.insert(dice.randrange(len(plan) + 1), ("probe", i))
        return [*plan, ("again", 0)]

    def score(self, rows):
        """Bits per byte of one set. A few batches are sent twice, to catch two kinds of cheat."""
        dice, nats, pasts = random.SystemRandom(), {}, {}
        for kind, i in self.plan(len(rows) // ROWS):
            batch = rows[i * ROWS : (i + 1) * ROWS]
            ids = batch[:, :-1]
            if kind == "probe":  # the same text up to its row's cut, and another one behind it
                cuts = [[dice.randrange(self.seq_len // 4, self.seq_len * 3 // 4)] for _ in range(ROWS)]
                pasts[i] = np.arange(self.seq_len) < cuts  # [ROWS, T]
                ids = np.where(pasts[i], ids, rows[dice.sample(range(len(rows)), ROWS), :-1])
            nats[kind, i] = self.ask(ids, batch[:, 1:])
            self.lines.say(free=True)
            if self.answering > ANSWERING:
                raise Refused("overtime", f"the answers took more than {ANSWERING:.0f} s")
        if (gap := abs(nats["again", 0] - nats["score", 0]).max()) > SAME:
            raise Refused("tampered", f"not repeatable: the first batch, asked again, moved by {gap:.2g}")
        if (gap := max(abs(nats["probe", i] - nats["score", i])[past].max() for i, past in pasts.items())) > SAME:
            raise Refused("tampered", f"not causal: with another text later on, the loss before it moved by {gap:.2g}")
        return float(np.mean([value for (kind, _), value in nats.items() if kind == "score"])) / math.log(2)

def listen():
    """The connection to the run; a later connection is not accepted."""
    if "AUTORESEARCH_SOCKET_FD" in os.environ:
        return socket.socket(fileno=int(os.environ["AUTORESEARCH_SOCKET_FD"]))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(short(os.environ["AUTORESEARCH_SOCKET"]))
        os.chmod(os.environ["AUTORESEARCH_SOCKET"], 0o777)  # a run in a sandbox may be another user
        server.listen(1)
        return server.accept()[0]

def main():
    names = os.environ.get("AUTORESEARCH_SETS", "validation")
    sets = {name: prepare.hidden_rows(name) for name in ("validation", "holdout") if name in names}
    seed, budget = int(os.environ.get("AUTORESEARCH_SEED", 42)), float(os.environ.get("AUTORESEARCH_BUDGET", BUDGET))
    judge = Judge(listen(), sets, seed, budget)
    try:
        scores = judge.examine()
        verdict = {"metric": next(iter(scores.values())), "scores": scores}
        last = {"score": verdict["metric"]}
    except Refused as e:
        verdict = dict(zip(("reason", "detail"), e.args))
        last = {"refused": verdict}
    except (EOFError, OSError):
        verdict, last = {"reason": "no_metric", "detail": "the run ended before it was scored"}, {}
    if path := os.environ.get("AUTORESEARCH_RESULT"):  # recorded first, sent afterwards
        with open(path + ".tmp", "w") as file:
            json.dump(verdict | {"numbers": judge.numbers}, file)
        os.replace(path + ".tmp", path)
    try:
        judge.lines.say(**last)
    except OSError:
        pass  # the run did not wait to hear it

# ----------------------------------------------------------------------------------------------------------------------
# The run's side: what train.py uses. A model is a function: ids [rows, T], int64 -> logits [rows, T, 256].

class Link:
    """A run's connection to its judge; with no harness around, it starts a judge of its own."""

    def __init__(self, command=(sys.executable, os.path.abspath(__file__))):
        path = os.environ.get("AUTORESEARCH_SOCKET")
        self.lines = Lines(self.reach(path) if path else self.start_own(command))
        told = self.ask("hello", hello=1)
        self.seed, self.budget = told["seed"], told["budget"]

    def reach(self, path):
        for _ in range(3000):  # a judge may still be starting
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(short(path))
                return sock
            except OSError:
                sock.close()
                time.sleep(0.02)
        sys.exit(f"FAIL: no judge answers at {path}")

    def start_own(self, command):
        ours, theirs = socket.socketpair()
        with theirs:
            env = os.environ | {"AUTORESEARCH_SOCKET_FD": str(theirs.fileno())}
            subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()])  # it ends when we do
        return ours

    def ask(self, *kinds, **message):
        """Say something, and hear what must be of one of these kinds; without one, the run ends with a line."""
        try:
            if message:
                self.lines.say(**message)
        except OSError:
            pass  # it hung up: its last words, which we hear now, say why
        try:
            answer = self.lines.hear(files=4)
        except (EOFError, OSError):
            answer = {"refused": {"detail": "the judge is gone"}}
        if not any(kind in answer for kind in kinds):
            sys.exit(f"FAIL: {answer['refused']['detail']}" if "refused" in answer else f"FAIL: the judge said {answer}")
        return answer

    def start(self, model):
        """Show the untrained model; then the clock starts."""
        self.serve(model, "start", "go")

    def elapsed(self):
        """Seconds of the budget that are used, by the judge's clock."""
        return self.ask("elapsed", elapsed=True)["elapsed"]

    def submit(self, model):
        """Be examined; the score, in bits per byte."""
        return self.serve(model, "submit", "score")

    def serve(self, model, verb, last):
        """Answer questions with a model until the judge says the last word."""
        shape = self.ask("shape", **{verb: True}, device="cpu", dtype="float32")["shape"]
        ids, logits = attach(self.lines.files[0], shape[:2], np.int64), attach(self.lines.files[1], shape, np.float32)
        self.lines.files = []
        message, free = self.ask("batch"), True  # free: the judge has read our last answer
        while last not in message:
            if "free" in message:
                message, free = self.ask("batch", "free", last), True
                continue
            answer = model(ids.copy())
            if np.shape(answer) != tuple(shape):
                sys.exit(f"FAIL: the model returned an array of {np.shape(answer)}; {tuple(shape)} is due")
            if not free:
                self.ask("free")
            logits[:] = answer
            message, free = self.ask("batch", "free", last, done=True), False
        return message[last]

if __name__ == "__main__":
    main()
