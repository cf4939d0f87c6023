"""Checks of a study: best against baseline on fresh seeds, ablation of each change, replay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autoresearch.errors import VerifyError
from autoresearch.files import write_whole
from autoresearch.lab.metric import Metric
from autoresearch.store.extra_runs import ABLATED, VERIFIED, ExtraRun, Gain, add_run, read_runs
from autoresearch.store.ledger import Ledger, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.noise import Noise
from autoresearch.strategies.summary import claimed_gain
from autoresearch.study.study import Study

FRESH = 1_000_000  # added to a study's seed: no trial uses these


@dataclass(frozen=True)
class Compared:
    """Two candidates on one set, seed by seed."""

    name: str  # of the set, or of the metric where there are no sets
    old: float
    new: float
    gain: Gain


@dataclass(frozen=True)
class Verified:
    """A study's gain on seeds that selected nothing."""

    metric: str
    best: int  # trial
    seeds: int
    compared: tuple[Compared, ...]  # validation first, then holdout where there is one
    claimed: float
    noise: Noise | None  # of one run; None with a single seed

    @property
    def survived(self) -> float | None:
        """The share of the claimed gain that was found again; None when no gain was claimed."""
        return self.compared[0].gain.mean / self.claimed if self.claimed > 0 else None


@dataclass(frozen=True)
class Ablated:
    """One kept change, taken out of the best."""

    trial: int
    note: str
    gain: Gain | None  # what it contributes; None when it cannot be taken out
    why_not: str = ""


@dataclass(frozen=True)
class Replayed:
    """A trial's first run, made again."""

    trial: int
    seed: int
    recorded: float | None
    replayed: float | None
    reason: str
    noise: Noise | None

    @property
    def agrees(self) -> bool:
        """Equal, or no further apart than four sds of the difference of two runs."""
        if self.recorded is None or self.replayed is None:
            return self.recorded == self.replayed
        far = abs(self.recorded - self.replayed)
        return far == 0 or (self.noise is not None and far <= 4 * 2**0.5 * self.noise.sd)


def verify(study: Study, seeds: int) -> Verified:
    """Baseline and best, interleaved on fresh seeds, on every set that the judge has."""
    first, best = _ends(study)
    pairs = list(_pairs(study, first.commit, best.commit, seeds, holdout=True))
    found = verified(study.ledger, best, pairs)
    _keep(study.paths.extra_runs / VERIFIED, asdict(found))
    return found


def verified(ledger: Ledger, best: Trial, pairs: Sequence[tuple[ExtraRun, ExtraRun]]) -> Verified:
    """The gain that pairs of runs, baseline and best, show."""
    metric = ledger.metric
    names = [name for name in pairs[0][0].scores if all(name in r.scores for p in pairs for r in p)]
    compared = [_compared(metric, name, pairs) for name in names or [""]]
    groups = [
        [run.value for run in side if run.value is not None] for side in zip(*pairs, strict=True)
    ]
    noise = Noise.pooled(groups) if len(pairs) > 1 else None
    return Verified(
        metric.name, best.number, len(pairs), tuple(compared), claimed_gain(ledger), noise
    )


def ablate(study: Study, seeds: int) -> Iterator[Ablated]:
    """The best without each of its changes: what is lost without it."""
    _, best = _ends(study)
    found = []
    for one in _ablated(study, best, seeds):
        found.append(one)
        yield one
    _keep(
        study.paths.extra_runs / ABLATED, {"best": best.number, "changes": list(map(asdict, found))}
    )


def _ablated(study: Study, best: Trial, seeds: int) -> Iterator[Ablated]:
    for change in study.ledger.steps_to(best.commit, study.base):
        files = _without(study, change, best.commit)
        if isinstance(files, str):
            yield Ablated(change.number, change.note, None, files)
            continue
        commit = study.git.commit(best.commit, files, f"best without #{change.number}")
        pairs = list(_pairs(study, commit, best.commit, seeds))
        yield Ablated(change.number, change.note, _compared(study.ledger.metric, "", pairs).gain)


def replay(study: Study, number: int) -> Replayed:
    """Repeat the first run of a trial: same commit, same seed, this machine."""
    trial = study.ledger.trial(number)
    if not trial.own:
        raise VerifyError(f"Trial {number} never ran ({trial.reason}): there is nothing to replay.")
    was = trial.own[0]
    run = _measured(study, trial.commit, was.seed)
    return Replayed(number, was.seed, was.value, run.value, run.reason, repeats(study.ledger))


def repeats(ledger: Ledger) -> Noise | None:
    """The noise of runs of one commit over the whole study; None when no commit ran twice."""
    groups: dict[str, list[float]] = {}
    for trial in ledger.trials():
        for run in trial.runs:
            if run.value is not None:
                groups.setdefault(run.commit or trial.commit, []).append(run.value)
    repeated = [values for values in groups.values() if len(values) > 1]
    return Noise.pooled(repeated) if repeated else None


def _keep(path: Path, found: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(found))


def _ends(study: Study) -> tuple[Trial, Trial]:
    """Baseline and best; VerifyError when they are the same."""
    best = study.ledger.best()
    if best is None or best.is_baseline:
        raise VerifyError(
            "Nothing is kept beside the baseline, so there is no gain to check. "
            "Go on with autoresearch run."
        )
    return study.ledger.kept()[0], best


def _pairs(
    study: Study, old: str, new: str, seeds: int, *, holdout: bool = False
) -> Iterator[tuple[ExtraRun, ExtraRun]]:
    """(old, new), once each on every seed, in the order A-B-B-A; recorded runs are reused."""
    base = int(study.ledger.facts["seed"]) + FRESH
    for turn in range(seeds):
        order = (old, new) if turn % 2 == 0 else (new, old)
        found = {commit: _known(study, commit, base + turn, holdout) for commit in order}
        yield _usable(found[old]), _usable(found[new])


def _known(study: Study, commit: str, seed: int, holdout: bool) -> ExtraRun:
    tree = study.git.tree(commit)
    for run in read_runs(study.paths.extra_runs):
        enough = not holdout or study.task.source != "judge" or "holdout" in run.scores
        if (run.tree, run.seed) == (tree, seed) and run.value is not None and enough:
            return run
    return add_run(study.paths.extra_runs, _measured(study, commit, seed, holdout=holdout))


def _measured(study: Study, commit: str, seed: int, *, holdout: bool = False) -> ExtraRun:
    tree = study.git.tree(commit)
    log = study.paths.extra_runs / f"{tree[:12]}-{seed}" / "run.log"
    found = study.measure(commit, seed, log, holdout=holdout)
    run = found.run
    return ExtraRun(tree, seed, run.value, dict(found.scores), run.reason, run.seconds)


def _usable(run: ExtraRun) -> ExtraRun:
    if run.value is None:
        raise VerifyError(
            f"The run of {run.tree[:12]} on seed {run.seed} has no number ({run.reason}). "
            "What ran before is kept; run the same command again, or look at its log."
        )
    return run


def _compared(metric: Metric, name: str, pairs: Sequence[tuple[ExtraRun, ExtraRun]]) -> Compared:
    both = [(_score(old, name), _score(new, name)) for old, new in pairs]
    gain = Gain.of([metric.gain(new, old) for old, new in both])
    old, new = (fmean(side) for side in zip(*both, strict=True))
    return Compared(name or metric.name, old, new, gain)


def _score(run: ExtraRun, name: str) -> float:
    assert run.value is not None
    return run.scores[name] if name else run.value


def _without(study: Study, change: Trial, best: str) -> Mapping[str, bytes] | str:
    """The best's editable files less one change; or why that cannot be."""
    if change.proposer == CONFIRMER:
        return "it is a confirmation, not a change"
    files = {}
    for name in study.task.editable:
        path = study.git.prefix + name
        content = study.git.without(change.commit, best, path)
        if content is None:
            return "later changes stand on it"
        files[path] = content
    if all(study.git.read(best, path) == content for path, content in files.items()):
        return "nothing of it is left"
    return files
