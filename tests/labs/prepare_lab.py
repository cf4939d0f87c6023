"""The nanogpt lab's prepare.py as a module, labs that use it, and a server for its downloads."""

import contextlib
import http.server
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")

import autoresearch

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


def tiny(shop: Shop, *more: str) -> list[str]:
    return ["--dataset", "tinystories", "--base-url", shop.url + HOST, *more]


CORPUS = (
    [story(i, 200) for i in range(30)] + ["the fox"] * 9 + ["naïve café 你好 \r\n\t x = 1\n\n" * 20]
)
SPEC = prepare.train_tokenizer(CORPUS, 500)
