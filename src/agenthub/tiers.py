"""Tiers: map a platform as people write it to a name under which machines are comparable."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Words for vendor and packaging, which do not tell speed.
_NOISE = re.compile(
    r"\b(nvidia|amd|apple|intel|geforce|tesla|quadro|radeon|instinct|graphics|gpu|cuda|mps|rocm"
    r"|pcie|sxm\d?|nvl|hbm\d?e?|oam|tensor|core|\d+ ?gi?b)\b"
)
_SEPARATORS = re.compile(r"[\s_/()@-]+")
_KNOWN = (
    (re.compile(r"(?:rtx)?([2-5]0[5-9]0)(ti)?(super)?(laptop)?(d)?"), "rtx"),
    (re.compile(r"gtx(\d{3,4})(ti)?(super)?"), "gtx"),
    (re.compile(r"rtx(a\d{4}|\d{4}ada)"), "rtx"),
    (re.compile(r"(mi\d{2,3}[a-z]?)"), ""),
    (re.compile(r"(g?[abhv][1-3]?\d0?0s?|gh200|l4|l40s?|t4|p100|k80|a10g?|a16|a30|a40)"), ""),
    (re.compile(r"(m[1-9])(pro|max|ultra)?"), ""),
    (re.compile(r"rx(\d{4})(xtx|xt)?"), "rx"),
    (re.compile(r"(tpu)(v\d[ep]?)?"), ""),
    (re.compile(r"(cpu)"), ""),
)


def tier_of(platform: str, tiers: Mapping[str, str] | None = None) -> str:
    """`NVIDIA H100 80GB HBM3` is h100, `4090` is rtx4090; an unknown one is itself in lower case.

    `tiers` are a project's own: platform in lower case -> tier.
    """
    plain = " ".join(platform.lower().split())
    if tiers and plain in tiers:
        return tiers[plain]
    short = re.sub(r"\b(\d+) ?gi?b\b", "", _SEPARATORS.sub(" ", plain))
    short = "".join(_NOISE.sub("", short).split())
    for shape, family in _KNOWN:
        found = shape.fullmatch(short)
        if found:
            return family + "".join(part for part in found.groups() if part)
    return plain
