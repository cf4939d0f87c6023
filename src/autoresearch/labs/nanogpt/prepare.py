"""
Data, tokenizer, loader and judge of the nanogpt lab. This file is fixed: experiments edit train.py, never this.

    python prepare.py             prepare the data set named below, once (a second run does nothing)
    python prepare.py --check     is everything there, and intact? (exit code 1 when not)
    python prepare.py --list      the data sets there are, and what is on this disk
    python prepare.py judge       judge one run: the harness starts this, and train.py does when run by hand

What it does, in the order of the sections below: download -> documents -> tokenizer -> rows on disk -> judge.
train.py sees one thing of all this, the class Judge near the end:

    judge = prepare.Judge()                     # opens the prepared data
    batches = judge.batches(rows, device, judge.seed)
    judge.start(model)                          # the clock starts; compile and warm up before this line
    while judge.elapsed() < judge.budget:
        x, y = next(batches)                    # int64 [rows, T] each, y is x one token later
        ...                                     # one step of training
    val_bpb = judge.submit(model)               # model(x) -> logits; the judge alone holds the targets
"""

import argparse
import contextlib
import difflib
import errno
import hashlib
import http.client
import json
import math
import os
import random
import re
import shutil
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True  # on a full disk half a .pyc may be left, and the next start would trip over it
import judge

# ----------------------------------------------------------------------------------------------------------------------
# Constants. Changing any of them changes what a score means, so experiments may not; presets may.

DATASET = "stdlib"        # what to train on: stdlib, climbmix, fineweb-edu, tinystories or local
LOCAL_PATH = ""           # for DATASET "local": the absolute path of a folder or file of .txt, .jsonl or .parquet
NUM_SHARDS = 0            # training files of a downloaded data set; 0 is as many as are usual for it
VOCAB_SIZE = 2048         # token ids, the beginning-of-document token included; 256 means plain bytes (257 ids)
MAX_SEQ_LEN = 256         # context length T in tokens
TIME_BUDGET = 20          # seconds of training
WARM_UP = 30              # seconds, of the same kind, until the training starts: importing, compiling, warming up
CLOCK = "cpu"             # what the budget counts: "cpu" (processor seconds of all its threads) or "wall" (seconds)
EVAL_TOKENS = 2**17       # tokens of validation text that decide val_bpb
EVAL_BATCH_SIZE = 8       # rows per evaluation batch, whatever the batch of the training is

FORMAT = 2                  # version of the files below; part of their folder's name
SAMPLE_CHARS = 200_000_000  # the tokenizer learns from at most so many characters of training text
# GPT-4's way to cut text into words before BPE: contractions, words with one leading mark, numbers of up to two
# digits (three would waste a small vocabulary), punctuation with its line ends, line ends, spaces.
SPLIT = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# ----------------------------------------------------------------------------------------------------------------------
# The data sets

@dataclass(frozen=True)
class Hub:
    """A data set of parquet files on the Hugging Face hub, or on a mirror of it."""

    repo: str
    usual: int              # training files by default
    train: tuple[str, ...]  # training files; the first so many are used
    validation: str         # never trained on
    holdout: str            # never trained on, never steered by; where it is the same file, documents take turns

HUB = {
    "climbmix": Hub(
        "karpathy/climbmix-400b-shuffle", 10,
        tuple(f"shard_{i:05d}.parquet" for i in range(6541)),
        "shard_06542.parquet", "shard_06541.parquet"),
    "fineweb-edu": Hub(
        "HuggingFaceFW/fineweb-edu", 1,
        tuple(f"sample/10BT/{i:03d}_00000.parquet" for i in range(13)),
        "sample/10BT/013_00000.parquet", "sample/10BT/013_00000.parquet"),
    "tinystories": Hub(
        "roneneldan/TinyStories", 4,
        ("data/train-00000-of-00004-2d5a1467fff1081b.parquet", "data/train-00001-of-00004-5852b56a2bd28fd9.parquet",
         "data/train-00002-of-00004-a26307300439e943.parquet", "data/train-00003-of-00004-d243063613e5a057.parquet"),
        "data/validation-00000-of-00001-869c898b519ad725.parquet",
        "data/validation-00000-of-00001-869c898b519ad725.parquet"),
}
ABOUT = {
    "stdlib": "the source of Python's own standard library: no download, tens of MB (the default)",
    "climbmix": "web text in 6,543 shards of about 100 MB: what the big presets train on",
    "fineweb-edu": "educational web text, the 10-billion-token sample in 14 files of about 2 GB",
    "tinystories": "short stories in the words of a small child: 1 GB in 4 files; small models shine on it",
    "local": 'your own text: --data FOLDER or FILE, of .txt, .jsonl (a field "text") or .parquet (a column "text")',
}
# The standard library is split by top-level module, so that no file stands on two sides: about 1.7 MB each. All other
# modules, the test suite first among them where it is installed, are training text.
STDLIB_VALIDATION = frozenset(
    "argparse ast asyncio calendar csv datetime _pydatetime gettext heapq html inspect json random shelve socket "
    "sqlite3 statistics tarfile textwrap threading tokenize typing zipfile".split())
STDLIB_HOLDOUT = frozenset(
    "bdb codecs concurrent configparser copy difflib fractions ftplib functools http logging multiprocessing optparse "
    "pickle pstats queue selectors shutil smtplib ssl subprocess trace urllib uuid".split())

class Problem(Exception):
    """Something the user can mend: shown as one line, exit code 2."""

@dataclass(frozen=True)
class Settings:
    """What to prepare. `folder` is where the result stands: equal settings share it, whichever lab asks."""

    dataset: str
    data: str
    shards: int
    vocab_size: int
    seq_len: int

    @property
    def train_names(self) -> tuple[str, ...]:
        return HUB[self.dataset].train[: self.shards or HUB[self.dataset].usual]

    @property
    def raw_names(self) -> list[str]:
        return list(dict.fromkeys([*self.train_names, HUB[self.dataset].validation, HUB[self.dataset].holdout]))

    @property
    def key(self) -> str:
        if self.dataset in HUB:
            which = f"n{len(self.train_names)}"
        elif self.dataset == "local":
            path = Path(self.data).expanduser().resolve()
            which = f"{re.sub('[^A-Za-z0-9]+', '-', path.stem)[:24]}-{short_hash(str(path))}"
        else:  # two Pythons on one machine may carry different libraries
            which = "py{}.{}.{}".format(*sys.version_info) + f"-{short_hash(sysconfig.get_paths()['stdlib'])}"
        return f"{self.dataset}-{which}-v{self.vocab_size}-t{self.seq_len}-f{FORMAT}"

    @property
    def folder(self) -> Path:
        return cache_folder() / self.key

    @property
    def raw(self) -> Path:
        return cache_folder() / "raw" / self.dataset

def lab_settings() -> Settings:
    """What the constants say: this, and nothing else, is what train.py trains on."""
    if DATASET == "local" and not Path(LOCAL_PATH).expanduser().is_absolute():
        raise Problem(f'LOCAL_PATH in prepare.py is {LOCAL_PATH!r}: for DATASET "local" it must be an absolute path')
    return Settings(DATASET, LOCAL_PATH, NUM_SHARDS, VOCAB_SIZE, MAX_SEQ_LEN)

# ----------------------------------------------------------------------------------------------------------------------
# Files. Everything is written beside its place, flushed to the disk and renamed: a power cut leaves the old or the new.

def cache_folder() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("AUTORESEARCH_CACHE") or home / "autoresearch").expanduser() / "nanogpt"

def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]

def sha256_of(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

def sync_folder(path: Path) -> None:
    """Make renames in a folder durable (elsewhere than on POSIX a folder cannot be opened, and need not be)."""
    if os.name == "posix":
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

def write_json(path: Path, value: object) -> None:
    temp = path.with_name(f".{path.name}.tmp")
    with open(temp, "w", encoding="utf-8") as f:
        f.write(json.dumps(value, indent=1) + "\n")
        f.flush()
        os.fsync(f.fileno())
    os.replace(temp, path)
    sync_folder(path.parent)

def read_json(path: Path) -> dict:
    """A JSON object; an empty one where there is no such file."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as e:
        raise Problem(f"{path} is damaged ({e}): move it away and run prepare.py again") from None

@contextlib.contextmanager
def locked(path: Path):
    """One prepare.py at a time. The kernel drops the lock when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as f:
        with contextlib.suppress(ImportError):  # Windows has no fcntl: there, do not start it twice
            import fcntl
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("another prepare.py is at work on this; waiting for it")
                fcntl.flock(f, fcntl.LOCK_EX)
        yield

def say(text: str) -> None:
    print(text, flush=True)

class Progress:
    """A bar on a terminal, a line every ten seconds in a log. Threads share it."""

    def __init__(self, what: str, unit: str):  # unit: of a million
        self.what, self.unit = what, unit
        self.parts: dict[str, tuple[float, float]] = {}  # of each: how much is done, how much there is (0: unknown)
        self.began = self.shown = time.monotonic()
        self.lock, self.terminal = threading.Lock(), sys.stdout.isatty()
        self.stop = threading.Event()  # set when the others shall give up

    def at(self, part: str, done: float, total: float = 0) -> None:
        with self.lock:
            self.parts[part] = (done, total)
            if time.monotonic() - self.shown > (0.2 if self.terminal else 10):
                self.shown = time.monotonic()
                self.show()

    def show(self, end: bool = False) -> None:
        done, total = (sum(column) / 1e6 for column in zip((0, 0), *self.parts.values()))
        rate = done / max(time.monotonic() - self.began, 1e-9)
        text = f"{self.what} {done:,.1f}" + (f" of {total:,.1f}" if total and not end else "")
        text += f" {self.unit}, {rate:,.1f} {self.unit}/s"
        if not self.terminal:
            return say(text)
        full = int(20 * min(1.0, done / total)) if total else 0
        bar = f"[{'#' * full}{'.' * (20 - full)}] " if total else ""
        print(f"\r{bar}{text}\033[K", end="\n" if end else "", flush=True)

# ----------------------------------------------------------------------------------------------------------------------
# Downloads: parallel, resumed, retried, verified. A part of a data set is an error, never a smaller data set.

TRIES = 5           # without any progress, then give up
FIRST_DELAY = 0.5   # seconds before the second try; doubles each time
WORKERS = 4         # files at a time
DISK_TROUBLE = {errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES, getattr(errno, "EDQUOT", errno.ENOSPC)}

class NoteHash(urllib.request.HTTPRedirectHandler):
    """Follows redirects; on the way the hub announces the file's sha256."""

    sha256 = ""

    def note(self, headers) -> None:
        for name in ("X-Linked-Etag", "ETag"):
            found = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get(name) or "")
            self.sha256 = self.sha256 or (found[1] if found else "")

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.note(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

def fetch_rest(url: str, part: Path, bar: Progress) -> str:
    """Append to `part` what is missing of `url`; raise if the connection is cut. Returns the announced sha256 or ''."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "autoresearch-prepare", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={have}-"} if have else {}))
    note = NoteHash()
    try:
        answer = urllib.request.build_opener(note).open(request, timeout=60)
    except urllib.error.HTTPError as e:
        note.note(e.headers)
        if e.code == 416 and (e.headers.get("Content-Range") or "").endswith(f"/{have}"):
            return note.sha256  # nothing was missing
        raise
    with answer:
        note.note(answer.headers)
        if have and answer.status != 206:
            have = 0  # this server cannot resume: from the start
        length = answer.headers.get("Content-Length")
        need_space(part.parent, int(length or 0))
        whole = have + int(length or 0)
        with open(part, "r+b" if have else "wb") as f:
            f.seek(have)
            while not bar.stop.is_set() and (block := answer.read(1 << 20)):
                f.write(block)
                bar.at(url, f.tell(), whole)
            f.flush()
            os.fsync(f.fileno())
            if length is not None and f.tell() != whole:
                raise ConnectionError(f"cut after {f.tell():,} of {whole:,} bytes")
    return note.sha256

def need_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + 2**26:
        raise Problem(f"no room in {folder}: {size / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free; "
                      "make room, or name another place for the data in AUTORESEARCH_CACHE")

def fetch(url: str, path: Path, bar: Progress) -> None:
    """Download `url` to `path`, beginning where an earlier try ended; a Problem says why it cannot be had."""
    part = path.with_name(path.name + ".part")
    tries, mark = 0, -1
    while True:
        try:
            announced = fetch_rest(url, part, bar)
            if not announced or sha256_of(part) == announced:
                os.replace(part, path)
                return sync_folder(path.parent)
            part.unlink()
            reason = "what came is not what the server announced (sha256 differs)"
        except urllib.error.HTTPError as e:
            reason = f"the server says {e.code} {e.reason}"
            if e.code == 416:  # our part is longer than their file: begin anew
                part.unlink(missing_ok=True)
            elif e.code < 500 and e.code not in (408, 425, 429):
                raise Problem(f"{url}: {reason}; is --base-url (or HF_ENDPOINT) a mirror of this data set?") from None
        except (http.client.HTTPException, OSError) as e:
            if getattr(e, "errno", None) in DISK_TROUBLE:
                raise
            reason = str(getattr(e, "reason", e)) or type(e).__name__
        size = part.stat().st_size if part.exists() else 0
        tries, mark = (1, size) if size > mark >= 0 else (tries + 1, max(size, mark))
        if tries >= TRIES or bar.stop.is_set():
            raise Problem(f"{url}: {reason} (tried {tries} times; what arrived is kept and will be resumed). Check the "
                          "network, name a mirror by --base-url or HF_ENDPOINT, or take --dataset stdlib: no download")
        bar.stop.wait(min(30.0, FIRST_DELAY * 2 ** (tries - 1)) * random.uniform(1.0, 1.25))

def download(s: Settings, base_url: str) -> None:
    """Bring every file of the data set to the disk; each one's size and sha256 are recorded once and hold for ever."""
    if not base_url:
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        base_url = f"{endpoint.rstrip('/')}/datasets/{HUB[s.dataset].repo}/resolve/main"
    if not re.match(r"https?://[^/]", base_url):
        raise Problem(f"{base_url!r} is no address to download from: it must begin with http:// or https://")
    record, lock = read_json(s.raw / "manifest.json"), threading.Lock()
    bar = Progress(f"download {s.dataset}", "MB")

    def one(name: str) -> None:
        path = s.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fetch(f"{base_url.rstrip('/')}/{name}", path, bar)
        seen = identity(path)
        with lock:
            if name not in record:
                record[name] = seen
                write_json(s.raw / "manifest.json", dict(sorted(record.items())))
            if record[name] != seen:
                raise Problem(corrupted(path))

    with ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(one, name) for name in s.raw_names]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            bar.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if bar.parts:
        bar.show(end=True)

def verify_raw(s: Settings) -> list[str]:
    """What is wrong with the downloaded files, one line each; reads every byte."""
    record, wrong = read_json(s.raw / "manifest.json"), []
    for path, known in ((s.raw / name, record.get(name)) for name in s.raw_names):
        if not path.exists():
            wrong.append(f"{path} is missing: run prepare.py again")
        elif known and identity(path) != known:
            wrong.append(corrupted(path))
    return wrong

def identity(path: Path) -> dict:
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}

def corrupted(path: Path) -> str:
    return f"{path} is corrupted: not the bytes that were recorded on first use; move it away and run prepare.py again"

# ----------------------------------------------------------------------------------------------------------------------
# Documents: every source is a stream of (set, text), in an order that is always the same. The set is train, validation
# or holdout. Training text comes first, so what the tokenizer learns from does not depend on the number of shards.

def documents(s: Settings):
    if s.dataset == "stdlib":
        return stdlib_documents(Path(sysconfig.get_paths()["stdlib"]))
    return local_documents(Path(s.data)) if s.dataset == "local" else hub_documents(s)

def hub_documents(s: Settings):
    hub = HUB[s.dataset]
    for name in s.train_names:
        yield from (("train", text) for text in parquet_texts(s.raw / name))
    shared = hub.validation == hub.holdout
    for i, text in enumerate(parquet_texts(s.raw / hub.validation)):
        yield "holdout" if shared and i % 2 else "validation", text
    if not shared:
        yield from (("holdout", text) for text in parquet_texts(s.raw / hub.holdout))

def stdlib_documents(root: Path):
    """Every .py file that Python itself carries, equal texts once; packages that were added later do not count."""
    seen = set()
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(d for d in inner if d not in ("site-packages", "dist-packages", "__pycache__"))
        for name in sorted(files):
            if not name.endswith(".py") or name.startswith("_sysconfigdata"):  # the latter tell of this machine only
                continue
            path = Path(folder, name)
            top = path.relative_to(root).parts[0].removesuffix(".py")
            try:
                text = path.read_bytes().decode()
            except (OSError, UnicodeDecodeError):  # a few test files are broken on purpose
                continue
            if text and text not in seen:
                seen.add(text)
                side = "validation" if top in STDLIB_VALIDATION else "holdout" if top in STDLIB_HOLDOUT else "train"
                yield side, text
    if not seen:
        raise Problem(f"this Python carries no library source in {root}: take another --dataset (see --list)")

def local_files(root: Path) -> list[Path]:
    if not root.exists():
        raise Problem(f"{str(root)!r} does not exist: --data names a folder or file of .txt, .jsonl or .parquet")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    files = [p for p in files if p.suffix.lower() in (".txt", ".jsonl", ".parquet") and p.stat().st_size]
    if not files:
        raise Problem(f"{root} holds no text: put .txt, .jsonl or .parquet files there")
    return files

def local_documents(root: Path):
    """Your own text. A document's side is decided by its own content: equal texts never stand on two sides."""
    kinds = {".txt": plain_texts, ".jsonl": jsonl_texts, ".parquet": parquet_texts}
    for path in local_files(root):
        for text in filter(None, kinds[path.suffix.lower()](path)):
            place = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 20
            yield {0: "validation", 1: "holdout"}.get(place, "train"), text

def plain_texts(path: Path, least: int = 4096):
    """A .txt file: cut at <|endoftext|> where it is used, else at the first empty line after `least` characters."""
    marked, lines, size = False, [], 0
    for _, _, line in utf8_lines(path):
        end = line.strip() == "<|endoftext|>"
        marked = marked or end
        lines.append("" if end else line)
        size += len(line)
        if end or (not marked and not line.strip() and size >= least) or size >= 2**22:
            yield "".join(lines)
            lines, size = [], 0
    yield "".join(lines)

def utf8_lines(path: Path):
    """(number, byte where it begins, text) of each line. A byte that is not UTF-8 ends it: text that was guessed,
    with a U+FFFD for each accent, would be learned and scored without anybody noticing."""
    at, number = 0, 0
    with open(path, "rb") as f:
        for raw in f:
            for line in raw.splitlines(keepends=True):
                number += 1
                try:
                    yield number, at, line.decode()
                except UnicodeDecodeError as e:
                    raise Problem(not_utf8(f"{path}, line {number}", at + e.start, line[e.start])) from None
                at += len(line)

def not_utf8(where: str, at: int, byte: int) -> str:
    return (f"{where}: byte {at:,} is 0x{byte:02x}, and no UTF-8 text has it there; nothing is guessed. "
            "If it is Latin-1: iconv -f latin1 -t utf-8 FILE > NEW; else name its encoding there, or leave the file out")

def jsonl_texts(path: Path):
    for number, at, line in utf8_lines(path):
        try:
            text = json.loads(line)["text"] if line.strip() else ""
            text.encode()
        except UnicodeEncodeError as e:
            raise Problem(f'{path}, line {number}, which begins at byte {at:,}: its "text" holds half a character, '
                          f"\\u{ord(text[e.start]):04x}; correct or remove the line") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Problem(f'{path}, line {number}: expected a JSON object with a string "text", '
                          f"found {line.strip()[:60]!r}") from None
        yield text

def parquet_texts(path: Path):
    import pyarrow
    import pyarrow.parquet
    try:
        with pyarrow.parquet.ParquetFile(path) as f:
            if "text" not in f.schema_arrow.names:
                raise Problem(f'{path} has no column "text"; it has {", ".join(f.schema_arrow.names)}')
            kind, row = f.schema_arrow.field("text").type, 0
            for batch in f.iter_batches(1024, columns=["text"]):
                for value in batch.column(0):
                    row += 1
                    if text := parquet_text(value, f'{path}, row {row} of the column "text"', kind):
                        yield text
    except (pyarrow.ArrowException, OSError) as e:
        reason = str(e).partition("\n")[0] or type(e).__name__
        raise Problem(f"{path} is corrupted ({reason}): move it away and run prepare.py again") from None

def parquet_text(value, where: str, kind) -> str:
    try:
        text = value.as_py()
        text = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as e:
        raise Problem(not_utf8(where, e.start, e.object[e.start])) from None
    if text is None or isinstance(text, str):
        return text or ""
    raise Problem(f"{where} is of type {kind}; expected text")

# ----------------------------------------------------------------------------------------------------------------------
# Tokenizer: byte-level BPE. Ids 0..255 are the bytes, then the merges in the order they were learned, last the BOS
# token that begins every document. Learned by `tokenizers`, applied by `tiktoken` (the faster of the two at that);
# kept as plain JSON, one line of hexadecimal bytes per token, so that a token's length in bytes is never in doubt.

def train_tokenizer(texts, vocab_size: int) -> dict:
    tokens = [bytes([i]) for i in range(256)]
    if vocab_size > 257:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
        alphabet = byte_alphabet()
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        bpe.train_from_iterator(texts, trainers.BpeTrainer(
            vocab_size=vocab_size - 1, initial_alphabet=sorted(alphabet), show_progress=False))
        learned = sorted((i, word) for word, i in bpe.get_vocab().items() if i >= 256)
        tokens += [bytes(alphabet[c] for c in word) for _, word in learned]
        if len(tokens) < vocab_size - 1:
            raise Problem(f"too little text for a vocabulary of {vocab_size}: only {len(tokens) + 1} tokens could be "
                          "learned; bring more text, or take a smaller VOCAB_SIZE (256 is plain bytes)")
    return {"format": FORMAT, "split": SPLIT, "bos": len(tokens), "tokens": [t.hex() for t in tokens]}

def byte_alphabet() -> dict[str, int]:
    """The printable character that byte-level BPE writes for each byte: itself where printable, else from U+0100 up."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + i): b for i, b in enumerate(rest)}

class Tokenizer:
    """Text to ids. `n_vocab` ids in all, `bos` the last; `token_bytes[id]` is a token's length in bytes, 0 for BOS."""

    def __init__(self, spec: dict):
        self.words, self.bos, self.split = [bytes.fromhex(t) for t in spec["tokens"]], spec["bos"], spec["split"]
        self.n_vocab = len(self.words) + 1
        self.token_bytes = np.array([*map(len, self.words), 0], dtype=np.int64)
        self.dtype = np.dtype("<u2" if self.n_vocab <= 2**16 else "<u4")
        self._bpe = None

    def encode(self, text: str) -> np.ndarray:
        """Ids of one document, without BOS."""
        if self.n_vocab == 257:
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(self.dtype)
        if self._bpe is None:
            import tiktoken
            ranks = {word: i for i, word in enumerate(self.words)}
            self._bpe = tiktoken.Encoding("lab", pat_str=self.split, mergeable_ranks=ranks, special_tokens={})
        parts = [self._bpe.encode_to_numpy(part, disallowed_special=()) for part in pieces(text)]
        return np.concatenate(parts).astype(self.dtype)

def pieces(text: str, size: int = 2**16):
    """A very long text in parts that end at a line's end where they can: splitting has no bad cases this way."""
    start = 0
    while len(text) - start > size:
        cut = max(text.rfind("\n", start, start + size) + 1, 0) or start + size
        yield text[start:cut]
        start = cut
    yield text[start:]

# ----------------------------------------------------------------------------------------------------------------------
# Rows: T+1 ids each, the first of them BOS, so that T inputs have T targets. Every token of every document is in
# exactly one row. A document longer than a row gives full rows and a rest; rests and short documents are packed
# best-fit (the longest that fits goes in first). Where nothing fits any more the shortest one is cut to fill the gap,
# and what is left of it is packed like any other, with a BOS of its own.

def plan_rows(lengths: list[int], seq_len: int, last: bool) -> tuple[list, list]:
    """Pack items of 1..T tokens: [(row, column, item, offset, length) of each stretch], [(item, offset) left over].

    One stack per length, and a bit mask of the stacks that are not empty: the best fit is found in one step however
    many items wait, and long ones cannot clog the search. `last`: leave nothing, fill up the last row with BOS.
    """
    stacks: list[list] = [[] for _ in range(seq_len + 1)]
    for item, length in enumerate(lengths):
        stacks[length].append((item, 0))
    mask = sum(1 << length for length, stack in enumerate(stacks) if stack)
    waiting = sum(lengths) + len(lengths)  # ids, a BOS each
    placed, row = [], 0
    while waiting > seq_len or (last and waiting):
        column = 0
        while column < seq_len and waiting:
            gap = seq_len - column  # tokens that fit after this stretch's BOS
            fits = mask & ((2 << gap) - 1)
            length = (fits or mask & -mask).bit_length() - 1  # the longest that fits, or else the shortest there is
            item, offset = stacks[length].pop()
            if not stacks[length]:
                mask ^= 1 << length
            take = min(length, gap)
            if take < length:
                stacks[length - take].append((item, offset + take))
                mask |= 1 << (length - take)
                waiting += 1
            placed.append((row, column, item, offset, take))
            waiting -= take + 1
            column += take + 1
        row += 1
    return placed, sorted(part for stack in stacks for part in stack)

class Rows:
    """Writes one set's rows to a file, in bounded memory; shuffled within each chunk, always the same way."""

    def __init__(self, path: Path, tokenizer: Tokenizer, seq_len: int, chunk: int = 2**22):
        self.path, self.tok, self.seq_len, self.chunk = path, tokenizer, seq_len, chunk
        self.file, self.digest = open(path, "wb"), hashlib.sha256()
        self.full, self.short, self.held = [], [], 0
        self.rows = self.documents = self.tokens = self.bytes = 0

    def add(self, ids: np.ndarray) -> None:
        self.documents, self.tokens, self.held = self.documents + 1, self.tokens + len(ids), self.held + len(ids)
        self.bytes += int(self.tok.token_bytes[ids].sum())
        whole = len(ids) // self.seq_len * self.seq_len
        if whole:
            self.full.append(ids[:whole].reshape(-1, self.seq_len))
        if whole < len(ids):
            self.short.append(ids[whole:])
        if self.held >= self.chunk:
            self.flush()

    def flush(self, last: bool = False) -> None:
        placed, left = plan_rows([len(ids) for ids in self.short], self.seq_len, last)
        n_full = sum(map(len, self.full))
        n_rows = n_full + (placed[-1][0] + 1 if placed else 0)
        rows = np.full((n_rows, self.seq_len + 1), self.tok.bos, dtype=self.tok.dtype)
        if self.full:
            np.concatenate(self.full, out=rows[:n_full, 1:])
        for row, column, item, offset, take in placed:
            rows[n_full + row, column + 1 : column + 1 + take] = self.short[item][offset : offset + take]
        data = rows[np.random.default_rng(self.rows).permutation(n_rows)].tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.rows += n_rows
        self.full, self.short = [], [self.short[item][offset:] for item, offset in left]
        self.held = sum(map(len, self.short))

    def close(self) -> dict:
        self.flush(last=True)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return {"rows": self.rows, "row_length": self.seq_len + 1, "dtype": self.tok.dtype.str,
                "documents": self.documents, "tokens": self.tokens, "bytes": self.bytes,
                "size": self.path.stat().st_size, "sha256": self.digest.hexdigest()}

# ----------------------------------------------------------------------------------------------------------------------
# Prepare: documents -> tokenizer -> rows, in a folder of its own that gets its name when all of it is on the disk.
# What a trial may see (train/) stands apart from what only the judge may see (judge/).

SETS = {"train": "train/train.bin", "validation": "judge/validation.bin", "holdout": "judge/holdout.bin"}

def sample(s: Settings):
    """The text that the tokenizer learns from; of a downloaded data set the first file, however many there are."""
    left = SAMPLE_CHARS
    for side, text in documents(replace(s, shards=1)):
        if left <= 0:
            return
        if side == "train":
            yield from pieces(text[:left])
            left -= len(text)

def encoded(s: Settings, tokenizer: Tokenizer):
    """(set, ids) of all documents in order, by a thread per core (tiktoken lets go of the interpreter's lock)."""
    cores = os.cpu_count() or 1
    waiting, job, held = [], [], 0
    with ThreadPoolExecutor(cores) as pool:
        for side, text in documents(s):
            job.append((side, text))
            held += len(text)
            if held >= 2**20:
                waiting.append(pool.submit(lambda job: [(side, tokenizer.encode(text)) for side, text in job], job))
                job, held = [], 0
            if len(waiting) > 2 * cores:
                yield from waiting.pop(0).result()
        for future in waiting:
            yield from future.result()
    yield from ((side, tokenizer.encode(text)) for side, text in job)

def build(s: Settings, folder: Path) -> None:
    for part in ("train", "judge"):
        (folder / part).mkdir(parents=True)
    say(f"tokenizer: learning {max(s.vocab_size, 257):,} tokens")
    spec_file = folder / "train" / "tokenizer.json"
    write_json(spec_file, train_tokenizer(sample(s), s.vocab_size))
    tokenizer = Tokenizer(read_json(spec_file))
    tokenizer.encode("")  # loads tiktoken, before the threads ask for it
    sets = {side: Rows(folder / name, tokenizer, s.seq_len) for side, name in SETS.items()}
    bar = Progress(f"tokenise {s.dataset}", "M tokens")
    for side, ids in encoded(s, tokenizer):
        sets[side].add(ids)
        bar.at("", sum(rows.tokens for rows in sets.values()))
    done = {side: rows.close() for side, rows in sets.items()}
    bar.show(end=True)
    for side, least in (("train", 1), ("validation", EVAL_BATCH_SIZE), ("holdout", EVAL_BATCH_SIZE)):
        if done[side]["rows"] < least:
            raise Problem(f"too little text: the {side} set has {done[side]['rows']} rows of {s.seq_len} tokens, "
                          f"{least} are needed; bring more text, or take a smaller MAX_SEQ_LEN or EVAL_BATCH_SIZE")
    about = {"format": FORMAT, "dataset": s.dataset, "source": source_of(s),
             "vocab": tokenizer.n_vocab, "seq_len": s.seq_len, "tokenizer": identity(spec_file)}
    files = {"train": {"tokenizer.json": identity(spec_file), "train.bin": done["train"]},
             "judge": {"validation.bin": done["validation"], "holdout.bin": done["holdout"]}}
    for part in files:
        write_json(folder / part / "manifest.json", about | {"files": files[part]})

def source_of(s: Settings) -> str:
    """Where the text came from. For local text its files' names, sizes and times, so that a change is noticed."""
    if s.dataset != "local":
        return HUB[s.dataset].repo if s.dataset in HUB else "Python " + sys.version.split()[0]
    seen = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in local_files(Path(s.data))]
    return "local " + hashlib.sha256(repr(seen).encode()).hexdigest()

def prepared(folder: Path, deep: bool = False, parts=("train", "judge")) -> list[str]:
    """What is wrong with a prepared folder, one line each; none: it is whole. `deep` reads every byte."""
    if not folder.is_dir():
        return [f"{folder} does not exist"]
    wrong = []
    for part in parts:
        try:
            files = read_json(folder / part / "manifest.json").get("files", {})
        except Problem as e:
            return [str(e)]
        if not files:
            wrong.append(f"{folder / part} is not complete")
        for name, known in files.items():
            path = folder / part / name
            if not path.is_file():
                wrong.append(f"{path} is missing")
            elif path.stat().st_size != known["size"]:
                wrong.append(f"{path} has {path.stat().st_size:,} bytes, not {known['size']:,}")
            elif deep and sha256_of(path) != known["sha256"]:
                wrong.append(f"{path} is not the bytes that were written (sha256 differs)")
    return wrong

def prepare(s: Settings, base_url: str = "") -> None:
    """Make `s.folder` whole; nothing to do if it is. Killed at any instant, it leaves nothing or all of it."""
    folder = s.folder
    if s.dataset == "local":
        source = source_of(s)
        if not prepared(folder) and source != read_json(folder / "train" / "manifest.json")["source"]:
            raise Problem(f"the files in {s.data} have changed since they were prepared, and scores before and after "
                          f"could not be compared: move {folder} away to prepare them anew")
    if not prepared(folder):
        return
    with locked(folder.with_name(folder.name + ".lock")):
        wrong = prepared(folder)
        if not wrong:
            return  # somebody else did it while we waited
        if folder.exists():
            say(f"damaged, so prepared anew: {wrong[0]}")
        if s.dataset in HUB:
            with locked(s.raw / ".lock"):
                download(s, base_url)
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            build(s, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
        sync_folder(folder.parent)

# ----------------------------------------------------------------------------------------------------------------------
# The judge. What train.py sees of it is the class below: it hands out training batches, and passes on to the judge
# itself, which is another process, what that alone may decide. How the two talk stands in judge.py.

def give_up(reason: str):
    """End the run with one line that says why; exit code 1, as for any failed run."""
    print(f"FAIL: {reason}", flush=True)
    raise SystemExit(1)

def from_environment(name: str, default, kind):
    """A number that the harness sets, as `kind` reads it; it must not be negative."""
    text = os.environ.get(name) or str(default)
    with contextlib.suppress(ValueError):
        if 0 <= kind(text) < math.inf:
            return kind(text)
    give_up(f"{name} is {text!r}; it must be {'a whole' if kind is int else 'a'} number, 0 or more")

class Judge:
    """All that train.py needs to know of the data and of its own score. See the top of this file for its use."""

    def __init__(self):
        try:
            self._settings = lab_settings()
            self._folder = self._settings.folder
            own = "AUTORESEARCH_SOCKET" not in os.environ
            if wrong := prepared(self._folder, parts=("train", "judge") if own else ("train",)):
                give_up(f"the data are not ready ({wrong[0]}); run: python prepare.py")
            self._link = judge.Link([sys.executable, os.path.abspath(__file__), "judge"])
        except (Problem, judge.Refused) as e:
            give_up(str(e))
        self._train = open_rows(self._folder / "train", "train.bin")
        told = self._link.told
        self.seed = told["seed"]
        self.budget = told["budget"]       # seconds, as elapsed() counts them
        self.vocab_size = told["vocab"]
        self.seq_len = self._settings.seq_len
        self.epoch = 0                     # which pass over the training rows the last batch came from, from 1
        self._device = None
        self._dtype = "float32"

    def batches(self, rows: int, device="cpu", seed: int = 42):
        """Endless (x, y), int64 [rows, T] each on `device`; each pass over the data in an order of its own."""
        import torch
        self._device = torch.device(device)
        return self._on_device(self._order(rows, seed), rows)

    def _order(self, rows: int, seed: int):
        """Endless row numbers, `rows` at a time."""
        epoch, order = 0, np.empty(0, dtype=np.int64)
        while True:
            while len(order) < rows:
                order = np.concatenate([order, np.random.default_rng([seed, epoch]).permutation(len(self._train))])
                epoch += 1
            self.epoch = epoch
            yield order[:rows]
            order = order[rows:]

    def _on_device(self, order, rows: int):
        import torch
        # Copies from pinned memory to a CUDA device run behind our back while it works. A buffer may be filled again
        # only when its copy has ended, which its event tells; there are two, so one is filled while the other travels.
        cuda = self._device.type == "cuda"
        shape = (2, rows, self.seq_len)
        slots = [(torch.empty(shape, dtype=torch.int64, pin_memory=True), torch.cuda.Event()) for _ in range(2 * cuda)]
        ids = np.empty((rows, self.seq_len + 1), dtype=self._train.dtype)
        for turn, chosen in enumerate(order):
            both, sent = slots[turn % 2] if cuda else (torch.empty(shape, dtype=torch.int64), None)
            np.take(self._train, chosen, axis=0, out=ids, mode="clip")
            if cuda:
                sent.synchronize()
            both[0].numpy()[:] = ids[:, :-1]
            both[1].numpy()[:] = ids[:, 1:]
            x, y = both.to(self._device, non_blocking=cuda)
            if cuda:
                sent.record(torch.cuda.current_stream(self._device))
            yield x, y

    def start(self, model) -> None:
        """The clock starts. The judge has one look at the model, which must not have learned anything yet."""
        self._asked(self._link.start, model)

    def elapsed(self) -> float:
        """Seconds of the budget that are used, by the judge's clock."""
        return self._link.elapsed()

    def submit(self, model) -> float:
        """The score: bits per byte of validation text. `model(x: int64 [B, T])` returns logits [B, T, vocab_size].

        The judge sends ids and takes logits; what it makes of them it has written down before we are told.
        """
        if callable(getattr(model, "eval", None)):
            model.eval()
        return self._asked(self._link.submit, model)

    def _asked(self, verb, model):
        """Serve the judge's questions with a model, on the device and in the precision that it has."""
        import torch
        parameters = getattr(model, "parameters", lambda: iter(()))
        device = next((p.device for p in parameters()), self._device or torch.device("cpu"))

        def forward(ids):
            with torch.no_grad():
                logits = model(torch.from_numpy(ids.copy()).to(device))
            shape = (*ids.shape, self.vocab_size)
            if not torch.is_tensor(logits) or tuple(logits.shape) != shape:
                seen = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
                give_up(f"model(x) must return logits of shape {shape} in the evaluation, it returned {seen}")
            return logits

        def write(logits, buffer):
            with torch.no_grad():
                (buffer if torch.is_tensor(buffer) else torch.from_numpy(buffer)).copy_(logits)
            if device.type == "cuda":
                torch.cuda.synchronize()

        dtype = str(getattr(model, "logits_dtype", torch.float32)).removeprefix("torch.")
        try:
            return verb(forward, write, device.type, dtype)
        except judge.Refused as e:
            give_up(str(e))

def open_rows(folder: Path, name: str) -> np.ndarray:
    """The rows of one set, [rows, T+1] ids, read from the disk as they are used."""
    known = read_json(folder / "manifest.json")["files"][name]
    data = np.memmap(folder / name, dtype=known["dtype"], mode="r", shape=(known["rows"], known["row_length"]))
    return np.asarray(data)

def exam() -> judge.Exam:
    """What the judge asks: EVAL_TOKENS of validation text, and of holdout text where the harness wants that as well.

    The text and the tokens' lengths are what prepare() wrote down when it made them, or there is no exam.
    """
    folder = lab_settings().folder
    if wrong := prepared(folder):
        raise Problem(f"the data are not ready ({wrong[0]}); run: python prepare.py")
    known = read_json(folder / "judge" / "manifest.json")
    if sha256_of(folder / "train" / "tokenizer.json") != known["tokenizer"]["sha256"]:
        raise Problem(f"{folder / 'train' / 'tokenizer.json'} was changed; move {folder} away and run prepare.py again")
    token_bytes = Tokenizer(read_json(folder / "train" / "tokenizer.json")).token_bytes
    if EVAL_BATCH_SIZE < 2:
        raise Problem(f"EVAL_BATCH_SIZE is {EVAL_BATCH_SIZE}; it must be 2 or more: some questions compare two rows")
    wanted = [name for name in ("validation", "holdout") if name in os.environ.get("AUTORESEARCH_SETS", "validation")]
    sets = {}
    for name in wanted:
        rows = open_rows(folder / "judge", f"{name}.bin")
        if sum(int(token_bytes[part[:, 1:]].sum()) for part in blocks(rows)) != known["files"][f"{name}.bin"]["bytes"]:
            raise Problem(f"{folder / 'judge' / name}.bin does not have the bytes that were recorded: move {folder} away "
                          "and run prepare.py again")
        count = min(EVAL_TOKENS // (rows.shape[1] - 1), len(rows)) // EVAL_BATCH_SIZE * EVAL_BATCH_SIZE
        if not count:
            raise Problem(f"the evaluation has less than one batch of {EVAL_BATCH_SIZE} rows: mend EVAL_TOKENS")
        sets[name] = rows[:count]
    seed = from_environment("AUTORESEARCH_SEED", 42, int)
    budget = from_environment("AUTORESEARCH_BUDGET", TIME_BUDGET, float)
    look = open_rows(folder / "train", "train.bin")
    return judge.Exam(sets, token_bytes, EVAL_BATCH_SIZE, seed, budget, CLOCK, WARM_UP, look)

def blocks(rows: np.ndarray, size: int = 2**12):
    return (rows[i : i + size] for i in range(0, len(rows), size))

# ----------------------------------------------------------------------------------------------------------------------
# The command

def describe(s: Settings) -> str:
    train, kept = (read_json(s.folder / part / "manifest.json") for part in ("train", "judge"))
    sizes = ", ".join(f"{name.removesuffix('.bin')} {known['tokens'] / 1e6:.2f} M"
                      for name, known in (train["files"] | kept["files"]).items() if name.endswith(".bin"))
    return f"{s.dataset}: vocabulary {train['vocab']:,}, context {s.seq_len}, tokens: {sizes}; in {s.folder}"

def check(s: Settings) -> int:
    wrong = prepared(s.folder, deep=True)
    if s.dataset in HUB and (s.raw / "manifest.json").exists():
        wrong += verify_raw(s)
    for line in wrong:
        say(f"wrong   {line}")
    if wrong:
        say("to mend it: " + (f"move {s.folder} away and " if s.folder.exists() else "") + "run python prepare.py")
        return 1
    say(f"intact  {describe(s)}")
    return 0

def list_datasets() -> int:
    for name, about in ABOUT.items():
        say(f"{'*' if name == DATASET else ' '} {name:12} {about}")
    say("  (* is what train.py trains on: the constant DATASET)")
    for folder in sorted(cache_folder().glob(f"*-f{FORMAT}")):
        say(f"  {'damaged' if prepared(folder) else 'ready  '} {folder}")
    return 0

def arguments(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description="Prepare the nanogpt lab's data: download, tokenizer, rows. A second run does nothing.",
        epilog="example: python prepare.py --dataset local --data my_texts/ --vocab-size 4096")
    p.add_argument("command", nargs="?", choices=["judge"], help="judge: wait for one run, and judge it")
    p.add_argument("--dataset", default=DATASET, help=f"{', '.join(ABOUT)} (default: {DATASET})")
    p.add_argument("--data", metavar="PATH", default=LOCAL_PATH,
                   help="for local: a folder or file of .txt, .jsonl, .parquet")
    p.add_argument("--num-shards", metavar="N", type=int, default=NUM_SHARDS,
                   help="training files to download (default: as many as are usual for the data set)")
    p.add_argument("--base-url", metavar="URL", default="",
                   help="download from this folder of a mirror (HF_ENDPOINT names a whole mirror)")
    p.add_argument("--vocab-size", metavar="N", type=int, default=VOCAB_SIZE,
                   help="token ids; 256 is plain bytes (default: %(default)s)")
    p.add_argument("--seq-len", metavar="T", type=int, default=MAX_SEQ_LEN,
                   help="context length in tokens (default: %(default)s)")
    p.add_argument("--check", action="store_true",
                   help="say what is there and whether it is intact; exit code 1 when not")
    p.add_argument("--list", action="store_true", help="list the data sets and what is prepared on this disk")
    return p.parse_args(argv)

def settings_from(args: argparse.Namespace) -> Settings:
    if args.dataset not in ABOUT:
        near = difflib.get_close_matches(args.dataset, ABOUT, 1, 0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise Problem(f"unknown data set {args.dataset!r}.{hint} There are {', '.join(ABOUT)}")
    if args.dataset == "local" and not args.data:
        raise Problem("the data set local needs its text: --data FOLDER or FILE (or LOCAL_PATH in this file)")
    if args.dataset != "local" and args.data != LOCAL_PATH:
        raise Problem(f"--data is for --dataset local; the data set here is {args.dataset}")
    for flag, value, least, most in (("--num-shards", args.num_shards, 0, 6541), ("--seq-len", args.seq_len, 8, 2**20),
                                     ("--vocab-size", args.vocab_size, 256, 2**20)):
        if not least <= value <= most:
            raise Problem(f"{flag} is {value}; it must be {least:,} to {most:,}")
    data = str(Path(args.data).expanduser().resolve()) if args.dataset == "local" else ""
    return Settings(args.dataset, data, args.num_shards, args.vocab_size, args.seq_len)

def hint_for(s: Settings) -> str:
    """How to make the lab use what was just prepared, where that is not what its constants say."""
    if s.folder == lab_settings().folder:
        return ""
    wanted = {
        "DATASET": (s.dataset, DATASET), "LOCAL_PATH": (s.data, LOCAL_PATH), "NUM_SHARDS": (s.shards, NUM_SHARDS),
        "VOCAB_SIZE": (s.vocab_size, VOCAB_SIZE), "MAX_SEQ_LEN": (s.seq_len, MAX_SEQ_LEN)}
    changes = ", ".join(f"{name} = {json.dumps(new)}" for name, (new, old) in wanted.items() if new != old)
    return f"note: train.py goes by the constants in prepare.py; to train on this, set {changes}"

def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        if args.command == "judge":
            return judge.main(exam())
        if args.list:
            return list_datasets()
        s = settings_from(args)
        if args.check:
            return check(s)
        began, fresh = time.monotonic(), bool(prepared(s.folder))
        prepare(s, args.base_url)
        say(f"prepared {describe(s)} ({time.monotonic() - began:.1f} s)" if fresh else f"ready {describe(s)}")
        if hint := hint_for(s):
            say(hint)
        return 0
    except Problem as e:
        message = str(e)
    except ImportError as e:
        message = f"{e}: pip install numpy tokenizers tiktoken pyarrow"
    except OSError as e:
        what = "no space left, or a file-size limit" if e.errno in (errno.ENOSPC, errno.EFBIG) else e.strerror or e
        message = (f"{what}: {e.filename or cache_folder()}; "
                   "mend that, or name another place for the data in AUTORESEARCH_CACHE")
    except KeyboardInterrupt:
        message = "stopped; run it again to go on"
    print(f"prepare.py: {message}", file=sys.stderr)
    return 130 if message.startswith("stopped") else 2

if __name__ == "__main__":
    sys.exit(main())
