"""What a judge of its own costs: evaluation over the protocol against evaluation in the process.

The model has the cpu preset's shape and is untrained: its speed does not depend on that. Both ways
score the same rows, in turn, each time in fresh processes. Bounds: under 2 s and under 10 % of a
budget of 20 s; at most one batch of logits more memory. Both scores must agree.

    python benchmarks/judge.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import autoresearch

LAB = Path(autoresearch.__file__).parent / "labs" / "nanogpt"
VOCAB, SEQ, ROWS, BATCHES, BUDGET = 2048, 256, 8, 64, 20.0
BATCH_MB = ROWS * SEQ * VOCAB * 4 / 2**20


def rows() -> Any:
    """Token ids that look like nothing in particular."""
    import numpy as np

    return np.random.default_rng(0).integers(VOCAB, size=(BATCHES * ROWS, SEQ + 1))


def exam(module: Any) -> Any:
    """The same text for both ways."""
    import numpy as np

    return module.Exam({"validation": rows()}, np.full(VOCAB, 4), ROWS, 1, BUDGET, "cpu")


def model() -> Any:
    """The cpu preset's model, untrained."""
    import torch
    import train

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train.keep_freed_memory()
    return train.GPT(VOCAB, SEQ)


def inside() -> None:
    """Evaluate in this process, as a script without a judge would."""
    import torch

    gpt, total, text = model(), 0.0, torch.from_numpy(rows())
    gpt(text[:1, :-1])
    began = time.perf_counter()
    with torch.no_grad():
        for batch in text.split(ROWS):
            logits = gpt(batch[:, :-1]).flatten(0, 1).float()
            nats = torch.nn.functional.cross_entropy(logits, batch[:, 1:].flatten())
            total += nats.item() / BATCHES
    report(total / 4 / 0.6931471805599453, time.perf_counter() - began, 0.0)


def outside() -> None:
    """Be evaluated by a judge."""
    import torch

    import judge

    gpt, peaks = model(), [0.0]

    def forward(ids: Any) -> Any:
        with torch.no_grad():
            return gpt(torch.from_numpy(ids.copy()))

    def write(logits: Any, buffer: Any) -> None:
        torch.from_numpy(buffer).copy_(logits)
        peaks.append(peak_mb(link.judge.pid))

    link = judge.Link([sys.executable, __file__, "--as", "judge"])
    link.start(forward, write)
    began = time.perf_counter()
    score = link.submit(forward, write)
    seconds = time.perf_counter() - began
    link.judge.wait()
    report(score, seconds, max(peaks))


def idle() -> None:
    """A judge that nobody talks to: what Python, numpy and the text take."""
    import judge

    link = judge.Link([sys.executable, __file__, "--as", "judge"])
    report(0.0, 0.0, peak_mb(link.judge.pid))
    link.wire.sock.close()
    link.judge.wait()


def peak_mb(pid: int) -> float:
    """The most that a process was resident with (ru_maxrss of a child begins with its parent's)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", text)[1]) / 1024  # type: ignore[index]


def report(score: float, seconds: float, judge_mb: float) -> None:
    """One line of JSON for the parent."""
    mine = peak_mb(os.getpid())
    told = {"score": score, "seconds": seconds, "judge_mb": judge_mb, "mb": mine}
    print(json.dumps(told), flush=True)


def measure(role: str) -> dict[str, float]:
    """One way, in fresh processes; processor seconds are of all of them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {k: v for k, v in os.environ.items() if not k.startswith("AUTORESEARCH_")}
    words = [sys.executable, __file__, "--as", role]
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "processor": used}


def compare(rounds: int) -> int:
    """Both ways in turn; the table; 1 when a bound is broken."""
    nobody = measure("idle")
    pairs = [(measure("inside"), measure("outside")) for _ in range(rounds)]

    def median(side: int, key: str) -> float:
        return statistics.median(pair[side][key] for pair in pairs)

    ratio = statistics.median(two["seconds"] / one["seconds"] for one, two in pairs)
    extra = statistics.median(two["seconds"] - one["seconds"] for one, two in pairs)
    shared = BATCH_MB  # of which both processes count their view
    run = median(1, "mb") - median(0, "mb")
    judge = median(1, "judge_mb") - nobody["judge_mb"]
    batches = (run + judge - shared) / BATCH_MB
    gap = max(abs(two["score"] / one["score"] - 1) for one, two in pairs)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{BATCHES * ROWS * SEQ:,} tokens, vocabulary {VOCAB:,}; {rounds} pairs; load {load}")
    print(f"{'':24}{'in process':>12}{'judged':>12}")
    for name, key in (("evaluation, s", "seconds"), ("processor in all, s", "processor")):
        print(f"{name:24}{median(0, key):12.2f}{median(1, key):12.2f}")
    print(f"{'run, MB':24}{median(0, 'mb'):12.0f}{median(1, 'mb'):12.0f}")
    alone = f"(idle {nobody['judge_mb']:.0f})"
    print(f"{'judge, MB':24}{'':12}{median(1, 'judge_mb'):12.0f}  {alone}")
    print(f"ratio {ratio:.2f}; {extra:+.2f} s, {100 * extra / BUDGET:+.1f} % of the budget")
    print(
        f"memory {batches:+.2f} batches of logits of {BATCH_MB:.0f} MB; scores differ by {gap:.1e}"
    )
    broken = extra > min(2.0, 0.1 * BUDGET) or batches > 1.0 or gap > 1e-5
    print("BROKEN" if broken else "within bounds")
    return int(broken)


def main() -> int:
    """The parent compares; children play one role each."""
    parser = argparse.ArgumentParser(description="What a judge of its own costs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as", dest="role", choices=["inside", "outside", "judge", "idle"])
    args = parser.parse_args()
    if args.role is None:
        return compare(args.rounds)
    sys.path[0] = str(LAB)  # this file has the name of the lab's judge
    if args.role == "judge":
        import judge

        return int(judge.main(exam(judge)))
    {"inside": inside, "outside": outside, "idle": idle}[args.role]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
