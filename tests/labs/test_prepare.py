"""The nanogpt lab's prepare.py: data, tokenizer, rows, downloads, judge."""

import contextlib
import hashlib
import http.server
import importlib.util
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import autoresearch  # noqa: E402

SOURCE = Path(autoresearch.__file__).parent / "labs" / "nanogpt" / "prepare.py"
SMALL = {
    "VOCAB_SIZE": 300,
    "MAX_SEQ_LEN": 32,
    "EVAL_TOKENS": 256,
    "EVAL_BATCH_SIZE": 2,
    "FIRST_DELAY": 0.01,
}
HOST = "/mirror"
OPEN: list[Any] = []  # judges of this test, each a process


def load(path: Path) -> ModuleType:
    """prepare.py as a module, with the judge.py that lies beside it."""
    spec = importlib.util.spec_from_file_location("lab_prepare", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
        sys.modules.pop("judge", None)
    return module


prepare = load(SOURCE)


class Lab:
    """A copy of prepare.py with other constants, as a preset writes them; a cache of its own."""

    def __init__(self, root: Path, **constants: object) -> None:
        self.root, self.cache = root, root / "cache"
        self.script = root / "prepare.py"
        self.env: dict[str, str] = {}
        shutil.copy(SOURCE.with_name("judge.py"), root)
        text = SOURCE.read_text()
        for name, value in (SMALL | constants).items():
            text, n = re.subn(rf"(?m)^{name} = \S+", f"{name} = {json.dumps(value)}", text)
            assert n == 1, name
        self.script.write_text(text)

    def start(self, *args: str) -> subprocess.Popen[str]:
        env = os.environ | {"AUTORESEARCH_CACHE": str(self.cache)} | self.env
        return subprocess.Popen(
            [sys.executable, str(self.script), *args],
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root,
        )

    def run(self, *args: str) -> tuple[int, str, str]:
        with self.start(*args) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def ok(self, *args: str) -> str:
        code, out, err = self.run(*args)
        assert (code, err) == (0, ""), err
        return out

    def refused(self, *args: str) -> str:
        """The one line that a run ends with which the user can mend."""
        code, _, err = self.run(*args)
        assert code == 2, err
        assert err.startswith("prepare.py: ")
        assert len(err.strip().splitlines()) == 1
        return err

    def folder(self) -> Path:
        found = [p.parent for p in self.cache.glob("nanogpt/*/train") if ".partial" not in str(p)]
        assert len(found) == 1, found
        return found[0]

    def is_empty(self) -> bool:
        return not list(self.cache.glob("nanogpt/*-f2"))

    def judge(self, monkeypatch: pytest.MonkeyPatch, **env: str) -> tuple[ModuleType, Any]:
        """A judge of our own, as `python train.py` by hand has one; it is gone after the test."""
        monkeypatch.setenv("AUTORESEARCH_CACHE", str(self.cache))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        module = load(self.script)
        judge = module.Judge()
        OPEN.append(judge)
        return module, judge


@pytest.fixture(autouse=True)
def no_judge_is_left() -> Iterator[None]:
    """When a run hangs up, its judge ends."""
    yield
    while OPEN:
        link = OPEN.pop()._link
        link.wire.sock.close()
        link.judge.wait(10)


def story(seed: int, words: int) -> str:
    rng = random.Random(seed)
    parts = re.findall(r"\w+", "the fox dog sun ran over under blue said 1234 É l mi no pa ro")
    return " ".join("".join(rng.choices(parts, k=rng.randint(1, 3))) for _ in range(words))


def parquet(n: int, seed: int) -> bytes:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [story(seed + i, 5 + i % 90) for i in range(n)]}), sink)
    return bytes(sink.getvalue())


class Shop:
    """A web server on loopback that serves a few files and misbehaves on request."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.faults: dict[str, list[tuple[str, int]]] = {}
        self.seen: list[tuple[str, str]] = []
        self.ranges = True
        self.together: threading.Barrier | None = None
        self.etags: dict[str, str] = {}
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                shop.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, h: http.server.BaseHTTPRequestHandler) -> None:
        self.seen.append((h.path, h.headers.get("Range") or ""))
        if self.together:
            with contextlib.suppress(threading.BrokenBarrierError):
                self.together.wait(5)
        name = h.path.removeprefix(HOST + "/")
        kind, number = self.faults.get(name, [])[:1][0] if self.faults.get(name) else ("", 0)
        if kind:
            self.faults[name].pop(0)
        data, status, start = self.files.get(name), 200, 0
        if kind == "status" or data is None:
            h.send_response(number or 404)
            h.send_header("Content-Length", "0")
            h.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", h.headers.get("Range") or "")
        if wanted and self.ranges:
            status, start = 206, int(wanted[1])
            if start >= len(data):
                h.send_response(416)
                h.send_header("Content-Range", f"bytes */{len(data)}")
                h.send_header("Content-Length", "0")
                h.end_headers()
                return
        body = data[start:]
        h.send_response(status)
        if name in self.etags:
            h.send_header("ETag", f'"{self.etags[name]}"')
        h.send_header("Content-Length", str(number if kind == "claim" else len(body)))
        h.end_headers()
        if kind == "garble":
            body = bytes(len(body))
        if kind in ("cut", "claim"):
            body = body[: number if kind == "cut" else 10]
            h.close_connection = True
        h.wfile.write(body)

    def asked(self, name: str) -> list[str]:
        return [r for path, r in self.seen if path == f"{HOST}/{name}"]


TINY = prepare.HUB["tinystories"]


@pytest.fixture
def shop() -> Iterator[Shop]:
    files = {name: parquet(60, 1000 * i) for i, name in enumerate(TINY.train)}
    s = Shop(files | {TINY.validation: parquet(60, 9000)})
    yield s
    s.server.shutdown()
    s.server.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of 200 short documents in one .jsonl file."""
    folder = tmp_path / "texts"
    folder.mkdir()
    lines = [json.dumps({"text": story(i, 3 + i)}) for i in range(200)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def ready(tmp_path: Path, texts: Path) -> Lab:
    """A lab whose constants name the local texts, prepared."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts))
    lab.ok()
    return lab


def tiny(shop: Shop, *more: str) -> list[str]:
    return ["--dataset", "tinystories", "--base-url", shop.url + HOST, *more]


# --- tokenizer ---------------------------------------------------------------------------------


CORPUS = (
    [story(i, 200) for i in range(30)] + ["the fox"] * 9 + ["naïve café 你好 \r\n\t x = 1\n\n" * 20]
)
SPEC = prepare.train_tokenizer(CORPUS, 500)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    """The tokens' bytes, in a row, are the text's bytes, and their lengths add up to the text's."""
    tok = prepare.Tokenizer(SPEC)
    ids = tok.encode(text)
    assert b"".join(tok.words[i] for i in ids) == text.encode()
    assert int(tok.token_bytes[ids].sum()) == len(text.encode())
    assert not len(ids) or ids.max() < tok.bos


def test_vocabulary_counts_every_id() -> None:
    """A vocabulary of 500 is 256 bytes, 243 merges and the BOS token, which stands for no bytes."""
    tok = prepare.Tokenizer(SPEC)
    assert (tok.n_vocab, tok.bos, len(set(tok.words))) == (500, 499, 499)
    assert tok.token_bytes[tok.bos] == 0


def test_256_is_bytes() -> None:
    """A vocabulary of 256 is plain bytes and gives 257 ids; half a letter counts one byte."""
    tok = prepare.Tokenizer(prepare.train_tokenizer([], 256))
    assert (tok.n_vocab, tok.bos) == (257, 256)
    assert list(tok.encode("é")) == [0xC3, 0xA9]
    assert tok.token_bytes[0xC3] == 1


def test_split_pattern_keeps_words_apart() -> None:
    """No token runs over a word's end, and none holds more than two digits."""
    numbers = [f"{n} the fox{n} is {n // 7}, not" for n in range(12345678, 12345678 + 30_000, 101)]
    spec = prepare.train_tokenizer(numbers, 330)
    for word in prepare.Tokenizer(spec).words:
        text = word.decode("utf-8", "replace")
        assert not re.search(r"\d{3}|\S\s\S", text), text


def test_encoding_is_the_one_that_was_learned() -> None:
    """tiktoken applies the merges exactly as the library that learned them does."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(prepare.SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    assert alphabet == sorted(prepare.byte_alphabet())
    bpe.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=499, initial_alphabet=alphabet, show_progress=False)
    )
    ours, unseen = prepare.Tokenizer(SPEC), Path(json.__file__).read_text()
    by_char = prepare.byte_alphabet()
    theirs = [bytes(by_char[c] for c in t) for t in bpe.encode(unseen).tokens]
    assert [ours.words[i] for i in ours.encode(unseen)] == theirs


def test_tokenizer_of_too_little_text() -> None:
    """Text that cannot fill the vocabulary is an error that names the size it can fill."""
    with pytest.raises(prepare.Problem, match=r"only 2\d\d tokens could be learned"):
        prepare.train_tokenizer(["abc abc"], 2048)


def test_very_long_text_is_cut_for_speed_only() -> None:
    """A text of one endless word, line or blank is encoded whole."""
    tok = prepare.Tokenizer(SPEC)
    for text in ("x" * 200_000, " " * 200_000, "\n" * 200_000, "the fox\n" * 50_000):
        assert "".join(prepare.pieces(text)) == text
        assert int(tok.token_bytes[tok.encode(text)].sum()) == len(text)


# --- rows --------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 16), max_size=60), st.booleans())
def test_packing_places_every_token_once(lengths: list[int], last: bool) -> None:
    """Every token of every item is placed once or left over; every row but a last one is full."""
    placed, left = prepare.plan_rows(lengths, 16, last)
    seen = Counter((item, offset + i) for _, _, item, offset, n in placed for i in range(n))
    seen.update((item, i) for item, offset in left for i in range(offset, lengths[item]))
    assert seen == Counter((item, i) for item, n in enumerate(lengths) for i in range(n))
    n_rows = placed[-1][0] + 1 if placed else 0
    ends = [0] * n_rows
    for row, column, _, _, n in placed:
        assert column == ends[row]
        ends[row] = column + n + 1
    full = ends[:-1] if last else ends
    assert all(end in (16, 17) for end in full)  # 16: one id is left, which a lone BOS fills
    assert all(end <= 17 for end in ends)
    assert not (last and left)


def write_rows(path: Path, docs: list[list[int]], seq_len: int, chunk: int = 2**22) -> np.ndarray:
    tok = prepare.Tokenizer(SPEC)
    rows = prepare.Rows(path, tok, seq_len, chunk)
    for doc in docs:
        rows.add(np.array(doc, dtype=tok.dtype))
    known = rows.close()
    assert known["size"] == path.stat().st_size
    assert known["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert known["tokens"] == sum(map(len, docs))
    return np.fromfile(path, dtype=known["dtype"]).reshape(known["rows"], known["row_length"])


@pytest.mark.parametrize("chunk", [1, 300, 2**22])
def test_rows_hold_all_text(tmp_path: Path, chunk: int) -> None:
    """Rows are T+1 ids and begin with BOS; long documents are split and none is cropped."""
    rng = random.Random(chunk)
    docs = [
        [rng.randrange(499) for _ in range(rng.choice([1, 3, 17, 40, 400]))] for _ in range(150)
    ]
    rows = write_rows(tmp_path / "x.bin", docs, 24, chunk)
    assert (rows[:, 0] == 499).all()
    assert Counter(rows[rows != 499].tolist()) == Counter(i for doc in docs for i in doc)
    packed = (rows != 499).sum() / rows[:, 1:].size
    assert packed > 0.85


def test_rows_split_a_long_document_in_order(tmp_path: Path) -> None:
    """A document longer than a row becomes consecutive stretches, each behind a BOS."""
    doc = list(range(100))
    rows = write_rows(tmp_path / "x.bin", [doc], 24)
    stretches = sorted(row[row != 499].tolist() for row in rows)
    assert stretches == [doc[i : i + 24] for i in range(0, 100, 24)]


def test_long_documents_do_not_clog_the_packing(tmp_path: Path) -> None:
    """With a thousand long documents waiting, short ones still find their exact fit."""
    rows = write_rows(tmp_path / "x.bin", [[1] * 1000] * 1000 + [[2] * 7] * 1000, 24)
    assert len(rows) == 1000 * (1000 // 24) + 1000  # each rest of 16 beside one short document
    assert (rows == 499).sum() == len(rows) + 1000


def test_wide_vocabulary_takes_four_bytes() -> None:
    """Ids beyond 65,535 are kept in four bytes each."""
    words = [bytes([i]) for i in range(256)] + [i.to_bytes(4, "big") for i in range(2**16)]
    spec = {"split": "", "bos": len(words), "tokens": [w.hex() for w in words]}
    assert prepare.Tokenizer(spec).dtype == np.dtype("<u4")


# --- documents ---------------------------------------------------------------------------------


def test_stdlib_split(tmp_path: Path) -> None:
    """Library files go to one side by their top package, once each; added packages stay out."""
    for name, text in {
        "asyncio/a.py": "a",
        "json/deep/b.py": "b",
        "http/c.py": "c",
        "os.py": "d",
        "copy_of_os.py": "d",
        "argparse.py": "e",
        "shutil.py": "f",
        "site-packages/x/y.py": "no",
        "asyncio/__pycache__/z.py": "no",
        "notes.txt": "no",
        "_sysconfigdata_x.py": "no",
        "empty.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.py").write_bytes(b"\xff\xfe")
    found = Counter(prepare.stdlib_documents(tmp_path))
    assert found == Counter(
        [("validation", t) for t in "abe"] + [("holdout", t) for t in "cf"] + [("train", "d")]
    )


def test_stdlib_is_there() -> None:
    """This Python's own library gives megabytes to each side, with or without its test package."""
    import sysconfig

    size: Counter[str] = Counter()
    for side, text in prepare.stdlib_documents(Path(sysconfig.get_paths()["stdlib"])):
        size[side] += len(text)
    assert size["train"] > 5e6
    assert size["validation"] > 1e6
    assert size["holdout"] > 1e6


def test_stdlib_absent(tmp_path: Path) -> None:
    """A Python that carries no library text is told so."""
    with pytest.raises(prepare.Problem, match="carries no library source"):
        list(prepare.stdlib_documents(tmp_path))


def test_local_kinds(tmp_path: Path) -> None:
    """.txt (with or without end marks), .jsonl and .parquet are read; text decides the side."""
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\n<|endoftext|>\n")
    (tmp_path / "b.txt").write_text(("line\n" * 1000 + "\n") * 3)
    (tmp_path / "c.jsonl").write_text('{"text": "three"}\n\n{"text": "one\\n"}\n')
    (tmp_path / "d.parquet").write_bytes(parquet(2, 5))
    (tmp_path / "e.py").write_text("not text of ours")
    found = list(prepare.local_documents(tmp_path))
    texts = [text for _, text in found]
    assert Counter(texts) >= Counter(["one\n", "one\n", "two\n", "three", story(5, 5), story(6, 6)])
    assert "".join(t for t in texts if t.startswith("line")) == ("line\n" * 1000 + "\n") * 3
    assert len({side for side, text in found if text == "one\n"}) == 1
    assert found == list(prepare.local_documents(tmp_path))


def test_local_split_is_one_in_twenty(tmp_path: Path) -> None:
    """About a twentieth of the documents goes to validation and as much to the holdout."""
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": str(i)}) for i in range(4000)))
    sides = Counter(side for side, _ in prepare.local_documents(tmp_path))
    assert 150 < sides["validation"] < 250
    assert 150 < sides["holdout"] < 250


# --- prepare -----------------------------------------------------------------------------------


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
    assert "delete" in out


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
    pq.write_table(pa.table({"words": ["x"]}), lab.root / "other.parquet")
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


# --- downloads ---------------------------------------------------------------------------------


def raw(lab: Lab, name: str) -> Path:
    return lab.cache / "nanogpt" / "raw" / "tinystories" / name


def test_download(lab: Lab, shop: Shop) -> None:
    """A data set is fetched once, its sizes and hashes are recorded, and it is intact."""
    lab.ok(*tiny(shop))
    record = json.loads(raw(lab, "manifest.json").read_text())
    assert set(record) == set(shop.files)
    for name, data in shop.files.items():
        assert raw(lab, name).read_bytes() == data
        assert record[name] == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert "intact" in lab.ok("--dataset", "tinystories", "--check")
    asked = len(shop.seen)
    lab.ok(*tiny(shop))
    assert len(shop.seen) == asked


def test_hf_endpoint(lab: Lab, shop: Shop) -> None:
    """HF_ENDPOINT names a mirror of the whole hub, in the hub's layout."""
    root = "datasets/roneneldan/TinyStories/resolve/main"
    shop.files = {f"/{root}/{name}": data for name, data in shop.files.items()}
    lab.env["HF_ENDPOINT"] = shop.url + "/"
    lab.ok("--dataset", "tinystories", "--num-shards", "1")


def test_a_cut_connection_is_resumed(lab: Lab, shop: Shop) -> None:
    """After a cut, the rest is asked for by Range, in the same run."""
    shop.faults[TINY.train[0]] = [("cut", 700), ("cut", 300)]
    lab.ok(*tiny(shop))
    assert shop.asked(TINY.train[0]) == ["", "bytes=700-", "bytes=1000-"]
    assert raw(lab, TINY.train[0]).read_bytes() == shop.files[TINY.train[0]]


def test_an_earlier_run_is_resumed(lab: Lab, shop: Shop) -> None:
    """What arrived before a failure is kept, and the next run asks for the rest only."""
    shop.faults[TINY.train[0]] = [("cut", 700), *[("status", 503)] * 9]
    assert "503" in lab.refused(*tiny(shop))
    shop.faults, shop.seen = {}, []
    lab.ok(*tiny(shop))
    assert shop.asked(TINY.train[0]) == ["bytes=700-"]


def test_a_download_that_only_lacked_its_name(lab: Lab, shop: Shop) -> None:
    """A part that is already whole is taken as it is."""
    part = raw(lab, TINY.train[0] + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(shop.files[TINY.train[0]])
    lab.ok(*tiny(shop))
    assert raw(lab, TINY.train[0]).read_bytes() == shop.files[TINY.train[0]]


def test_a_part_longer_than_the_file(lab: Lab, shop: Shop) -> None:
    """A part that cannot belong to the file is thrown away."""
    part = raw(lab, TINY.train[0] + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(10**5))
    lab.ok(*tiny(shop))
    assert raw(lab, TINY.train[0]).read_bytes() == shop.files[TINY.train[0]]


def test_a_server_that_cannot_resume(lab: Lab, shop: Shop) -> None:
    """Where Range is ignored the file is fetched from its start."""
    shop.ranges = False
    shop.faults[TINY.train[0]] = [("cut", 700)]
    lab.ok(*tiny(shop))
    assert raw(lab, TINY.train[0]).read_bytes() == shop.files[TINY.train[0]]


def test_a_server_in_trouble_is_asked_again(lab: Lab, shop: Shop) -> None:
    """500 and 429 are tried again."""
    shop.faults[TINY.train[0]] = [("status", 500), ("status", 429), ("status", 502)]
    lab.ok(*tiny(shop))
    assert len(shop.asked(TINY.train[0])) == 4


def test_a_missing_shard_is_an_error(lab: Lab, shop: Shop) -> None:
    """A shard that is not there is an error at once, never a smaller data set."""
    del shop.files[TINY.train[2]]
    err = lab.refused(*tiny(shop))
    assert TINY.train[2] in err
    assert "404" in err
    assert len(shop.asked(TINY.train[2])) == 1
    assert lab.is_empty()


def test_bytes_that_differ_from_the_announced_hash(lab: Lab, shop: Shop) -> None:
    """A file whose sha256 is not the one in the server's ETag is fetched again."""
    name = TINY.train[0]
    shop.etags[name] = hashlib.sha256(shop.files[name]).hexdigest()
    shop.faults[name] = [("garble", 0)]
    lab.ok(*tiny(shop))
    assert raw(lab, name).read_bytes() == shop.files[name]
    assert shop.asked(name) == ["", ""]


def test_a_mirror_that_serves_other_bytes(lab: Lab, shop: Shop) -> None:
    """A file fetched again must be the one that was recorded on first use."""
    lab.ok(*tiny(shop))
    name = TINY.train[0]
    raw(lab, name).unlink()
    shop.files[name] = parquet(60, 123)
    assert "not the bytes that were recorded on first use" in lab.refused(
        *tiny(shop, "--seq-len", "16")
    )


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_corrupted_shard(lab: Lab, shop: Shop, damage: str) -> None:
    """A shard that changed on the disk is named before it is used; deleted, it is fetched again."""
    lab.ok(*tiny(shop))
    path = raw(lab, TINY.train[1])
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-9])
    assert lab.run("--dataset", "tinystories", "--check")[0] == 1
    err = lab.refused(*tiny(shop, "--seq-len", "16"))
    assert f"{path} is corrupted" in err
    assert "delete it" in err
    path.unlink()
    lab.ok(*tiny(shop, "--seq-len", "16"))


def test_downloads_run_side_by_side(lab: Lab, shop: Shop) -> None:
    """Files are fetched in parallel: the server answers when four requests have come together."""
    shop.together = threading.Barrier(4)
    lab.ok(*tiny(shop, "--num-shards", "3"))
    assert len(shop.seen) == 4
    assert not shop.together.broken


def test_a_file_too_large_for_the_disk(lab: Lab, shop: Shop) -> None:
    """A download that cannot fit is refused before it begins."""
    shop.faults[TINY.train[0]] = [("claim", 10**18)] * 9
    err = lab.refused(*tiny(shop))
    assert "no room in" in err
    assert "AUTORESEARCH_CACHE" in err


def test_no_network(lab: Lab) -> None:
    """Where nobody answers, the line says so and names the ways out."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    port = server.server_port
    server.server_close()
    err = lab.refused("--dataset", "tinystories", "--base-url", f"http://127.0.0.1:{port}")
    assert "refused" in err
    assert "--dataset stdlib" in err


def test_tokenizer_does_not_depend_on_the_number_of_shards(tmp_path: Path, shop: Shop) -> None:
    """One shard or four: the same tokenizer, the same validation and holdout rows."""
    seen = []
    for n in ("1", "4"):
        (tmp_path / n).mkdir()
        lab = Lab(tmp_path / n)
        lab.ok(*tiny(shop, "--num-shards", n))
        names = ("train/tokenizer.json", "judge/validation.bin", "judge/holdout.bin")
        seen.append([(lab.folder() / name).read_bytes() for name in names])
    assert seen[0] == seen[1]


def test_the_lists_of_files() -> None:
    """climbmix pins its last two shards for validation and holdout; no list overlaps."""
    hub = prepare.HUB["climbmix"]
    assert (hub.train[0], hub.train[-1]) == ("shard_00000.parquet", "shard_06540.parquet")
    assert (hub.validation, hub.holdout) == ("shard_06542.parquet", "shard_06541.parquet")
    for hub in prepare.HUB.values():
        assert len(set(hub.train)) == len(hub.train)
        assert not {hub.validation, hub.holdout} & set(hub.train)


# --- the judge ---------------------------------------------------------------------------------


def test_batches(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are int64, y is x one token later; an epoch is every row once in a seeded order."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    data = prepare.open_rows(ready.folder() / "train", "train.bin")
    stream = judge.batches(len(data), "cpu", 1)
    first, second = next(stream), next(stream)
    x, y = first
    assert x.dtype == y.dtype == torch.int64
    assert x.shape == y.shape == (len(data), 32)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert judge.epoch == 2
    want = sorted(map(tuple, data.tolist()))
    for x, y in (first, second):
        assert sorted(map(tuple, torch.cat([x, y[:, -1:]], 1).tolist())) == want
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], next(judge.batches(len(data), "cpu", 1))[0])
    assert not torch.equal(first[0], next(judge.batches(len(data), "cpu", 2))[0])


def test_batches_of_any_size(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may cross the end of an epoch, or hold several epochs; no row is skipped for it."""
    pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    n = len(prepare.open_rows(ready.folder() / "train", "train.bin"))
    small, large = judge.batches(7, "cpu", 3), judge.batches(2 * n + 5, "cpu", 3)
    rows = [tuple(row) for _ in range(n) for row in next(small)[0].tolist()]
    assert Counter(rows).most_common()[0][1] >= 7
    assert rows[: 2 * n + 5] == [tuple(row) for row in next(large)[0].tolist()]


class Uniform:
    """A model that knows nothing, and notes what it is asked."""

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x):  # type: ignore[no-untyped-def]
        import torch

        self.shapes.append(tuple(x.shape))
        return torch.zeros(*x.shape, self.n_vocab)


def score(judge: Any, model: Any) -> float:
    """Start, train not at all, submit."""
    judge.start(model)
    return float(judge.submit(model))


def test_score_of_a_model_that_knows_nothing(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bytes as tokens, equal logits cost exactly log2(257) bits a byte: BOS does not count."""
    pytest.importorskip("torch")
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), VOCAB_SIZE=256)
    lab.ok()
    _, judge = lab.judge(monkeypatch)
    model = Uniform(judge.vocab_size)
    assert score(judge, model) == pytest.approx(math.log2(257), abs=1e-5)
    # one row before the start; then EVAL_TOKENS, three batches of probes, the first batch again
    assert model.shapes == [(1, 32)] + [(2, 32)] * (4 + 3 + 1)


def test_score_against_plain_arithmetic(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """val_bpb is summed nats over summed bytes of the targets, over ln 2; BOS is left out."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    table = torch.randn(
        judge.vocab_size, judge.vocab_size, generator=torch.Generator().manual_seed(0)
    )
    rows = prepare.open_rows(ready.folder() / "judge", "validation.bin")[:8].astype(np.int64)
    tok = prepare.Tokenizer(json.loads((ready.folder() / "train" / "tokenizer.json").read_text()))
    logits = table.double().numpy()
    nats = n_bytes = 0.0
    for row in rows:
        for before, after in itertools.pairwise(row):
            if after != tok.bos:
                nats += np.log(np.exp(logits[before]).sum()) - logits[before, after]
                n_bytes += len(tok.words[after])
    model = torch.nn.Embedding.from_pretrained(table)
    assert score(judge, model) == pytest.approx(nats / n_bytes / math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("nan", "non-finite logits"),
        ("inf", "non-finite logits"),
        ("-inf", "non-finite logits"),
        ("short", r"must return logits of shape \(2, 32, 300\) .* it returned \(2, 31, 300\)"),
        ("loss", "it returned float"),
    ],
)
def test_a_bad_answer_is_no_score(
    ready: Lab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    reason: str,
) -> None:
    """Logits that are not finite or of a wrong shape end the run with the reason, exit code 1."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)

    def model(x):  # type: ignore[no-untyped-def]
        logits = torch.zeros(*x.shape, judge.vocab_size)
        if len(x) == 1:  # the look before the start
            return logits
        if answer in ("nan", "inf", "-inf"):
            logits[1, 3, 5] = float(answer)
        return {"short": logits[:, 1:], "loss": 3.0}.get(answer, logits)

    judge.start(model)
    with pytest.raises(SystemExit) as stop:
        judge.submit(model)
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL: ")
    assert re.search(reason, out)


def test_bf16_logits_are_scored_in_float32(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-precision logits are accepted and widened before the softmax."""
    torch = pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    model = torch.nn.Embedding(judge.vocab_size, judge.vocab_size).bfloat16()
    wide = torch.nn.Embedding.from_pretrained(model.weight.detach().float())
    _, again = ready.judge(monkeypatch)
    assert score(judge, model) == pytest.approx(score(again, wide), rel=1e-9)


def test_one_judge_scores_once(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the score the judge is gone: a second submission finds nobody."""
    pytest.importorskip("torch")
    _, judge = ready.judge(monkeypatch)
    score(judge, Uniform(judge.vocab_size))
    with pytest.raises(SystemExit):
        judge.submit(Uniform(judge.vocab_size))
    assert "the judge is gone" in capsys.readouterr().out


def test_seed_and_budget_come_from_the_harness(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTORESEARCH_SEED and _BUDGET are used where set; by hand it is 42 and TIME_BUDGET."""
    _, judge = ready.judge(monkeypatch)
    assert (judge.seed, judge.budget, judge.seq_len, judge.vocab_size) == (42, 20.0, 32, 300)
    _, judge = ready.judge(monkeypatch, AUTORESEARCH_SEED="7", AUTORESEARCH_BUDGET="1.5")
    assert (judge.seed, judge.budget) == (7, 1.5)


@pytest.mark.parametrize("value", ["x", "-1", "1.5"])
def test_a_bad_seed(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], value: str
) -> None:
    """A seed that is no whole number is refused by name."""
    with pytest.warns(ResourceWarning), pytest.raises(SystemExit):
        ready.judge(monkeypatch, AUTORESEARCH_SEED=value)
    assert "AUTORESEARCH_SEED" in capfd.readouterr().out


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_the_clock(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """The clock stands at zero until start, then never runs backwards."""
    pytest.importorskip("torch")
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), CLOCK=clock)
    lab.ok()
    _, judge = lab.judge(monkeypatch, AUTORESEARCH_BUDGET="0.1")
    assert judge.elapsed() == 0.0
    judge.start(Uniform(judge.vocab_size))
    seen = []
    while not seen or seen[-1] < judge.budget:
        seen.append(judge.elapsed())
    assert seen == sorted(seen)
    assert seen[0] >= 0


def test_judge_without_data(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training before preparing ends with the command to run, exit code 1."""
    with pytest.raises(SystemExit) as stop:
        lab.judge(monkeypatch)
    assert stop.value.code == 1
    assert "run: python prepare.py" in capsys.readouterr().out


def test_holdout_text_is_scored_and_not_told(
    ready: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With AUTORESEARCH_SETS the verdict has both sets' scores; the run is told validation's."""
    torch = pytest.importorskip("torch")
    result = tmp_path / "verdict.json"
    _, judge = ready.judge(
        monkeypatch, AUTORESEARCH_SETS="validation,holdout", AUTORESEARCH_RESULT=str(result)
    )
    told = score(judge, torch.nn.Embedding(judge.vocab_size, judge.vocab_size))
    judge._link.judge.wait(10)
    verdict = json.loads(result.read_text())
    assert set(verdict["scores"]) == {"validation", "holdout"}
    assert verdict["metric"] == verdict["scores"]["validation"] == told
    assert verdict["scores"]["holdout"] != told


@pytest.mark.parametrize("name", ["judge/validation.bin", "train/tokenizer.json"])
def test_no_exam_on_changed_data(ready: Lab, name: str) -> None:
    """The judge refuses text or a tokenizer that is not what was recorded when it was prepared."""
    path = ready.folder() / name
    data = bytearray(path.read_bytes())
    if name.endswith(".json"):
        at = data.rindex(b'"tokens"') + 14
        data[at : at + 1] = b"1" if data[at : at + 1] != b"1" else b"2"
    else:
        data[2:200] = bytes(198)
    path.write_bytes(data)
    assert re.search("was changed|bytes that were recorded", ready.refused("judge"))


def test_a_batch_of_one_row_cannot_be_probed(tmp_path: Path, texts: Path) -> None:
    """EVAL_BATCH_SIZE 1 is refused: causality is asked about by comparing rows."""
    lab = Lab(tmp_path, DATASET="local", LOCAL_PATH=str(texts), EVAL_BATCH_SIZE=1)
    lab.ok()
    assert "EVAL_BATCH_SIZE is 1" in lab.refused("judge")
