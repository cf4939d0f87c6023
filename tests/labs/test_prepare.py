"""The nanogpt lab's prepare.py as a command: what it makes, checks, and rejects."""

import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")

from labs.prepare_lab import Lab


def test_prepare_then_nothing_to_do(ready: Lab) -> None:
    """A second run writes nothing; what a trial may see stands apart from the judge's."""
    folder = ready.folder()
    seen = {part: {p.name for p in (folder / part).iterdir()} for part in ("train", "judge")}
    assert seen["train"] == {"tokenizer.json", "train.bin", "manifest.json"}
    assert seen["judge"] == {"validation.bin", "holdout.bin", "manifest.json"}
    before = {p: p.stat().st_mtime_ns for p in ready.cache.rglob("*")}
    assert ready.ok().startswith("ready local")
    assert before == {p: p.stat().st_mtime_ns for p in ready.cache.rglob("*")}


def test_same_text_same_files(ready: Lab, texts: Path, tmp_path: Path) -> None:
    """Preparing again from the same text gives the same bytes."""
    (tmp_path / "second").mkdir()
    second = Lab(tmp_path / "second", DATASET="local", LOCAL_PATH=str(texts))
    second.ok()
    names = ["train/tokenizer.json", "train/train.bin", "judge/validation.bin", "judge/holdout.bin"]
    for name in names:
        assert (ready.folder() / name).read_bytes() == (second.folder() / name).read_bytes()


def test_data_path_does_not_import_torch(ready: Lab) -> None:
    """Preparing, checking and listing never import torch."""
    code = (
        "import sys; sys.path.insert(0, '.'); import prepare; "
        "codes = prepare.main([]), prepare.main(['--check']), prepare.main(['--list']); "
        "print(codes, 'torch' in sys.modules)"
    )
    env = os.environ | {"AUTORESEARCH_CACHE": str(ready.cache)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ready.root, text=True, capture_output=True
    )
    assert done.stdout.endswith("(0, 0, 0) False\n"), done.stderr


@pytest.mark.parametrize("name", ["train/train.bin", "judge/holdout.bin", "train/tokenizer.json"])
def test_check_finds_one_changed_byte(ready: Lab, name: str) -> None:
    """--check reads every byte: one changed byte is named and the exit code is 1."""
    assert ready.ok("--check").startswith("intact  local")
    path = ready.folder() / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, out, _ = ready.run("--check")
    assert code == 1
    assert f"{path} is not the bytes that were written" in out
    assert "away and run python prepare.py" in out


def test_check_of_nothing(lab: Lab) -> None:
    """--check where nothing is prepared says what to run, exit code 1."""
    code, out, _ = lab.run("--check")
    assert code == 1
    assert "run python prepare.py" in out


def test_truncated_result_is_prepared_anew(ready: Lab) -> None:
    """A prepared file that lost its end is noticed without being read, and made again."""
    path = ready.folder() / "train" / "train.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    assert "damaged, so prepared anew" in ready.ok()
    assert path.read_bytes() == whole


def test_killed_at_any_instant(tmp_path: Path, texts: Path) -> None:
    """kill -9 leaves nothing or a whole set, and the next run finishes the work."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts))
    rng = random.Random(0)
    for _ in range(8):
        with lab.start() as process:
            time.sleep(rng.uniform(0.1, 0.5))
            process.kill()
        code, out, _ = lab.run("--check")
        assert (code, "does not exist" in out) in ((1, True), (0, False)), out
    lab.ok()
    lab.ok("--check")
    assert not list(lab.cache.glob("nanogpt/*.partial"))


def test_two_at_once(tmp_path: Path, texts: Path) -> None:
    """Two runs at the same time do the work once and both succeed."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts))
    runs = [lab.start() for _ in range(3)]
    outs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outs
    assert sum("tokenise" in out for out, _ in outs) == 1
    lab.ok("--check")


def test_other_settings_say_how_to_use_them(lab: Lab, texts: Path) -> None:
    """Preparing what the constants do not name says which constants to set."""
    out = lab.ok("--dataset", "local", "--data", "texts", "--seq-len", "16")
    assert f'set DATASET = "local", LOCAL_PATH = "{texts}", MAX_SEQ_LEN = 16' in out
    assert "ready   " in lab.ok("--list")


def test_help_ends_with_an_example(lab: Lab) -> None:
    """--help ends with a command that can be typed."""
    assert lab.ok("--help").strip().splitlines()[-1].startswith("example: python prepare.py")


# --- bad input ---------------------------------------------------------------------------------


def test_unknown_dataset(lab: Lab) -> None:
    """An unknown data set is answered with the nearest name and all of them."""
    err = lab.refused("--dataset", "tinystorys")
    assert "Did you mean 'tinystories'?" in err
    assert "stdlib, climbmix, fineweb-edu, tinystories, local" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset", "local"], "--data FOLDER or FILE"),
        (["--dataset", "local", "--data", "nowhere"], "does not exist"),
        (["--dataset", "local", "--data", "empty"], "holds no text"),
        (
            ["--dataset", "local", "--data", "bad.jsonl"],
            "bad.jsonl, line 2: expected a JSON object",
        ),
        (["--dataset", "local", "--data", "bad.parquet"], "bad.parquet is corrupted"),
        (["--dataset", "local", "--data", "other.parquet"], 'has no column "text"; it has words'),
        (["--dataset", "local", "--data", "short.txt"], "too little text for a vocabulary of 300"),
        (["--vocab-size=256", "--dataset=local", "--data=short.txt"], "too little text: the "),
        (["--dataset=local", "--data=latin.txt"], "latin.txt, line 2: byte 8 is 0xe9"),
        (["--dataset=local", "--data=latin.jsonl"], "latin.jsonl, line 2: byte 27 is 0xe9"),
        (["--dataset=local", "--data=late.txt"], "late.txt, line 1: byte 300,000 is 0xff"),
        (["--dataset=local", "--data=wide.txt"], "wide.txt, line 1: byte 0 is 0xff"),
        (["--dataset=local", "--data=half.jsonl"], "half.jsonl, line 2, which begins at byte 14"),
        (["--dataset=local", "--data=half.jsonl"], "holds half a character, \\ud800"),
        (["--dataset=local", "--data=latin.parquet"], 'row 2 of the column "text": byte 3 is 0xe9'),
        (["--dataset=local", "--data=number.parquet"], 'column "text" is of type int64'),
        (["--dataset=local", "--data=deep.jsonl"], "deep.jsonl, line 1: expected a JSON object"),
        (["--data", "short.txt"], "--data is for --dataset local"),
        (["--vocab-size", "100"], "--vocab-size is 100; it must be 256 to"),
        (["--num-shards", "-1"], "--num-shards is -1"),
        (["--dataset=tinystories", "--base-url=ftp://x"], "must begin with http:// or https://"),
    ],
)
def test_bad_input(lab: Lab, args: list[str], message: str) -> None:
    """Each mistake gets one line that says what was seen, and leaves nothing behind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (lab.root / "empty").mkdir()
    (lab.root / "bad.jsonl").write_text('{"text": "x"}\n{"words": "y"}\n')
    (lab.root / "bad.parquet").write_bytes(b"PAR1 not really")
    (lab.root / "short.txt").write_text("hello")
    (lab.root / "latin.txt").write_bytes(b"one\ncafe\xe9\n")
    (lab.root / "latin.jsonl").write_bytes(b'{"text": "x"}\r{"text": "caf\xe9"}\n')
    (lab.root / "late.txt").write_bytes("é".encode() * 150_000 + b"\xff\n")
    (lab.root / "wide.txt").write_bytes("text".encode("utf-16"))
    (lab.root / "half.jsonl").write_text('{"text": "x"}\n{"text": "\\ud800"}\n')
    (lab.root / "deep.jsonl").write_text("[" * 100_000)
    pq.write_table(pa.table({"words": ["x"]}), lab.root / "other.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), lab.root / "number.parquet")
    both = pa.array([b"caf\xc3\xa9", b"caf\xe9"], pa.binary())
    pq.write_table(pa.table({"text": both}), lab.root / "latin.parquet")
    assert message in lab.refused(*args)
    assert lab.is_empty()


def test_local_text_that_changed(ready: Lab, texts: Path) -> None:
    """Local text that changed after it was prepared is an error: scores could not be compared."""
    with (texts / "a.jsonl").open("a") as f:
        f.write('\n{"text": "new"}')
    assert "have changed since they were prepared" in ready.refused()


def test_relative_local_path(tmp_path: Path, texts: Path) -> None:
    """LOCAL_PATH must be absolute: a trial runs in another folder."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH="texts")
    assert "must be an absolute path" in lab.refused()


def test_cache_that_cannot_be_made(lab: Lab) -> None:
    """A file where the cache should be is named, with the variable that moves the cache."""
    lab.cache.write_text("in the way")
    err = lab.refused()
    assert str(lab.cache) in err
    assert "AUTORESEARCH_CACHE" in err


def test_no_room(tmp_path: Path, texts: Path) -> None:
    """A disk that takes no more bytes ends the run with one line and nothing half-made."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, old[1]))
    try:
        err = lab.refused()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "no space left, or a file-size limit" in err
    assert lab.is_empty()
    lab.ok()
