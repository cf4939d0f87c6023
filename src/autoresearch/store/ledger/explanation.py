"""Why a trial was decided as it was: against what, by how much, in sds of one run."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

Kind = Literal[
    "worse",  # than what it started from, or no better where nothing is random
    "within_noise",
    "too_small",  # better, and by less than min_delta
    "adds_code",
    "unconfirmed",
    "unmeasurable",
    "step",
    "better",  # kept by one run
    "confirmed",
]


@dataclass(frozen=True)
class Explanation:
    """A comparison in numbers. Gains are positive when better, and None where nothing was run."""

    kind: Kind
    against: int | None = None  # the trial that it is compared with
    gain: float | None = None  # over that trial, in the metric's unit; see `relative`
    sds: float | None = None  # the gain in sds of one run; None where there is no noise
    sd: float | None = None  # of one run, where the comparison was made
    low: float | None = None  # of the gain's interval
    high: float | None = None
    relative: bool = False  # gain, low and high are shares of that trial's value (log scale)
    believed: float | None = None  # that trial's value less its luck, where that is compared with
    fell_back: bool = False  # the first run looked better, the second did not
    added: int | None = None  # nodes or lines of code that it adds; below 0 it is simpler
    unit: str = "nodes"  # or lines
    pairs: int | None = None  # that a confirmation ran

    @property
    def words(self) -> str:
        """In words: worse than #4 by 0.11 (3 sd)."""
        if self.kind == "adds_code":
            return f"adds {self._code} for {_sds(self.sds)}"
        if self.kind == "unmeasurable":
            return "unmeasurable: in one pair every try had a run that failed"
        if self.kind == "unconfirmed":
            return f"unconfirmed: {self._size}{self._interval} in {_count(self.pairs or 0, 'pair')}"
        if self.kind == "confirmed":
            return f"{self._kept}: {self._size}{self._interval}"
        if self.kind in ("step", "better"):
            return self._won
        return self._lost

    @property
    def _kept(self) -> str:
        """What a keep is called; rule 1 kept also what its interval does not bear out."""
        if self.added is not None and self.added < 0:
            return "confirmed as no worse, and simpler"
        return "confirmed" if self.low is None or self.low > 0 else "kept, and not confirmed"

    @property
    def _won(self) -> str:
        """Why a screened candidate is built on."""
        if self.added is not None and self.added < 0:
            start = f"simpler by {_count(-self.added, self.unit.removesuffix('s'))}, and "
            if self.kind == "step" and abs(self.sds or 0.0) < 1:
                return f"{start}within noise of {self._other} ({_sds(self.sds)})"
        else:
            start = ""
        return f"{start}{'looks ' if self.kind == 'step' else ''}{self._size}"

    @property
    def _lost(self) -> str:
        """Why a screened candidate was put aside."""
        start = "second run fell back: " if self.fell_back else ""
        if self.kind == "too_small":
            return f"{start}{self._size}, less than min_delta"
        if self.kind == "within_noise":
            return f"{start}within noise of {self._other} ({_sds(self.sds)})"
        return start + self._size

    @property
    def _size(self) -> str:
        """better than #4 by 0.11 (3 sd)."""
        if not self.gain:
            return f"equal to {self._other}"
        sds = "" if self.sds is None else f" ({_sds(abs(self.sds))})"
        word = "better" if self.gain > 0 else "worse"
        comma = "" if self.believed is None else ","
        return f"{word} than {self._other}{comma} by {self._amount(abs(self.gain))}{sds}"

    @property
    def _interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        factor, unit = (100, " %") if self.relative else (1, "")
        low, high = factor * self.low, factor * self.high
        digits = 1 - math.floor(math.log10(high - low)) if high > low else 15
        low, high = (round(end, digits) + 0.0 for end in (low, high))
        return f", {low:.12g}{unit} to {high:.12g}{unit}"

    @property
    def _other(self) -> str:
        other = "its parent" if self.against is None else f"#{self.against}"
        return other if self.believed is None else f"{other}, believed to be {self.believed:.4g}"

    @property
    def _code(self) -> str:
        return _count(self.added or 0, self.unit.removesuffix("s"))

    def _amount(self, size: float) -> str:
        shown = f"{float(f'{100 * size if self.relative else size:.2g}'):g}"
        return f"{shown} %" if self.relative else shown

    @classmethod
    def of(cls, text: str) -> Explanation | None:
        """Read the ledger's column; None for a kind that a newer version wrote."""
        record = json.loads(text)
        known = {field.name for field in fields(cls)}
        if record.get("kind") not in get_args(Kind):
            return None
        return cls(**{name: value for name, value in record.items() if name in known})

    @property
    def text(self) -> str:
        """For the ledger's column: a JSON object of what is not as by default."""
        record = asdict(self)
        shown = {n: v for n, v in record.items() if n == "kind" or v != _DEFAULTS[n]}
        return json.dumps(shown)


_DEFAULTS = {field.name: field.default for field in fields(Explanation)}


def _sds(size: float | None) -> str:
    """3 sd, 0.2 sd, -0.4 sd; no digits that mean nothing."""
    if size is None:
        return "no noise"
    if not math.isfinite(size) or abs(size) >= 1000:
        return "over 1000 sd" if size > 0 else "under -1000 sd"
    text = f"{size:.0f}" if abs(size) >= 10 else f"{size:.1f}".removesuffix(".0")
    return f"{'0' if text == '-0' else text} sd"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
