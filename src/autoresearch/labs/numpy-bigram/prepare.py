"""
Data of the numpy-bigram lab: the source of Python's own standard library, as bytes. This file is fixed.

    python prepare.py       make the data, once (a second run does nothing)

The bytes go to the cache folder of AutoResearch, in two parts. A run may read `train`. The other part, `judge`, holds
the text that decides the score; in the harness's sandbox a run cannot open it. (The standard library itself lies on
every machine that has Python, so a cheat could find the text there: this is a lab to learn with, not a contest.)
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    sys.exit("FAIL: this lab needs NumPy: pip install 'autoresearch[numpy]', or: pip install numpy")

# ----------------------------------------------------------------------------------------------------------------------
# Constants. Changing any of them changes what a score means, so experiments may not.

VOCAB = 256             # token ids: the bytes themselves, no tokenizer
SEQ_LEN = 128           # bytes of text that a model sees in one row
TRAIN_BYTES = 4_000_000 # of training text, at most
JUDGE_BYTES = 2**16     # of validation text, and of holdout text
FORMAT = 1              # version of the files below; part of their folder's name

# No module stands on two sides. All that is not named here is training text.
VALIDATION = set("argparse ast calendar csv datetime _pydatetime heapq inspect json statistics tarfile textwrap typing".split())
HOLDOUT = set("bdb configparser difflib functools logging optparse pickle subprocess trace uuid".split())
LEFT_OUT = set("encodings pydoc_data distutils test tests idlelib lib2to3 site-packages dist-packages __pycache__".split())

def folder():
    """Where the data stand: one folder for each version of Python, as their libraries differ."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("AUTORESEARCH_CACHE") or home / "autoresearch").expanduser()
    return cache / f"numpy-bigram-py{sys.version_info.major}.{sys.version_info.minor}-f{FORMAT}"

def sides():
    """All text there is, by side. Sorted names: the same bytes on every run."""
    text = {"train": b"", "validation": b"", "holdout": b""}
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if not LEFT_OUT & set(parts):
            side = "validation" if parts[0] in VALIDATION else "holdout" if parts[0] in HOLDOUT else "train"
            text[side] += path.read_bytes()
    return text

def prepare():
    """Make both parts, completely or not at all: a folder with another name until the last byte is written."""
    if folder().exists():
        return
    text = sides()
    folder().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder().parent) as partial:
        made = Path(partial, "data")
        for part, name, most in (("train", "train", TRAIN_BYTES), ("judge", "validation", JUDGE_BYTES),
                                 ("judge", "holdout", JUDGE_BYTES)):
            if len(text[name]) < JUDGE_BYTES:
                sys.exit(f"FAIL: this Python's library has only {len(text[name]):,} bytes of {name} text")
            (made / part).mkdir(parents=True, exist_ok=True)
            (made / part / f"{name}.bin").write_bytes(text[name][:most])
        try:
            made.rename(folder())
        except OSError:
            if not folder().exists():  # else somebody made the same just now
                raise

def read(part, name):
    """One file of the data, as an array of bytes."""
    try:
        return np.fromfile(folder() / part / f"{name}.bin", dtype=np.uint8)
    except FileNotFoundError:
        sys.exit("FAIL: the data are not ready; run: python prepare.py")

def training_text():
    """What a model may learn from: uint8, one dimension."""
    return read("train", "train")

def hidden_rows(name):
    """The rows to score, for judge.py only: [rows, SEQ_LEN + 1]. No row has the answers of another."""
    text = read("judge", name)
    return text[: len(text) // (SEQ_LEN + 1) * (SEQ_LEN + 1)].reshape(-1, SEQ_LEN + 1).astype(np.int64)

if __name__ == "__main__":
    prepare()
    sizes = ", ".join(f"{path.stem} {path.stat().st_size:,} bytes" for path in sorted(folder().rglob("*.bin")))
    print(f"ready: {sizes}; in {folder()}")
