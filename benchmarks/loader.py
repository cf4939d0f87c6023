"""How fast does the nanogpt lab feed a training loop? Bound: 20 M tokens a second on one core.

    python benchmarks/loader.py [--seconds 3]

Beside it the way of the original autoresearch, written anew here: tokenise documents as they are
needed, keep a buffer of 1,000 of them, fill each row with the longest that fits, crop the shortest
when none does, in plain Python. Both on one core of this machine, in this run, on the same text
(the standard library), at the scale of the cpu preset and of a large GPU, and once with the text
cut into documents of a web page's size. "cropped" is the share of the tokenised text that the
original throws away; ours throws away nothing. A large GPU eats about 1.7 M tokens a second. Exit
code 1 under the bound.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import autoresearch

LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
BOUND = 20e6
SCALES = [  # vocabulary, context, rows in a batch, longest document in characters
    (2048, 256, 8, 10**9),
    (8192, 2048, 128, 10**9),
    (8192, 2048, 128, 3000),
]


def load_prepare() -> ModuleType:
    """The lab's prepare.py, as a module."""
    spec = importlib.util.spec_from_file_location("lab_prepare", LAB / "prepare.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class OnTheFly:
    """Endless (x, y), tokenised and packed while the training waits, as the original does it."""

    def __init__(self, texts: list[str], tokenizer: Any, rows: int, seq_len: int) -> None:
        self.source, self.tokenizer = itertools.cycle(texts), tokenizer
        self.rows, self.capacity = rows, seq_len + 1
        self.buffer: list[list[int]] = []
        self.cropped = self.used = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor([self.row() for _ in range(self.rows)], dtype=torch.int64)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def row(self) -> list[int]:
        row: list[int] = []
        while len(row) < self.capacity:
            while len(self.buffer) < 1000:
                document = self.tokenizer.encode(next(self.source)).tolist()
                self.buffer.append([self.tokenizer.bos, *document])
            row += self.take(self.capacity - len(row))
        return row

    def take(self, room: int) -> list[int]:
        best, best_length = -1, 0
        for i, document in enumerate(self.buffer):
            if best_length < len(document) <= room:
                best, best_length = i, len(document)
        if best < 0:
            best = min(range(len(self.buffer)), key=lambda i: len(self.buffer[i]))
        document = self.buffer.pop(best)
        self.used += min(len(document), room)
        self.cropped += max(len(document) - room, 0)
        return document[:room]


def rate(batches: Iterator[tuple[torch.Tensor, torch.Tensor]], seconds: float) -> float:
    """Tokens per second of processor time; the first batch is not timed."""
    next(batches)
    tokens, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        x, _ = next(batches)
        tokens += x.numel()
    return tokens / (time.process_time() - began)


def measure(
    prepare: ModuleType, vocab: int, seq_len: int, rows: int, longest: int, seconds: float
) -> tuple[float, float, float]:
    """Tokens a second of the original's method, the share it crops, tokens a second of ours."""
    vars(prepare).update(DATASET="stdlib", VOCAB_SIZE=vocab, MAX_SEQ_LEN=seq_len)
    with contextlib.redirect_stdout(io.StringIO()):
        prepare.prepare(prepare.lab_settings())
    judge = prepare.Judge()
    train = (text for side, text in prepare.documents(judge._settings) if side == "train")
    texts = [piece for text in train for piece in prepare.pieces(text, longest)]
    original = OnTheFly(texts, judge._tokenizer, rows, seq_len)
    theirs = rate(iter(original), seconds)
    cropped = original.cropped / (original.cropped + original.used)
    return theirs, cropped, rate(judge.batches(rows, "cpu", 0), seconds)


def main() -> int:
    """Print the table; 1 under the bound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    prepare = load_prepare()
    print("vocabulary context rows documents |     original cropped |         ours |  ratio")
    slowest = float("inf")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AUTORESEARCH_CACHE"] = cache
        for vocab, seq_len, rows, longest in SCALES:
            theirs, cropped, ours = measure(prepare, vocab, seq_len, rows, longest, args.seconds)
            slowest = min(slowest, ours)
            kind = "files" if longest > 10**6 else f"{longest:,}"
            print(
                f"{vocab:>10,} {seq_len:>7,} {rows:>4} {kind:>9} | {theirs / 1e6:>8.2f} M/s"
                f" {cropped:>7.0%} | {ours / 1e6:>8.0f} M/s | {ours / theirs:>5.0f}x"
            )
    print(f"tokens a second on one core; bound {BOUND / 1e6:.0f} M/s")
    return int(slowest < BOUND)


if __name__ == "__main__":
    sys.exit(main())
