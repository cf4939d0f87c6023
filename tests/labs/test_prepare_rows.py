"""The nanogpt lab's prepare.py: documents, and the rows that they are packed into."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from labs.prepare_lab import SPEC, parquet, prepare, story  # noqa: E402


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
    """A Python without library sources gets an error that says so."""
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


def test_lines_are_read_as_they_stand(tmp_path: Path) -> None:
    """All three line ends, with the byte where each line begins, across any length."""
    text = "é\n\r\n\rx\u2028y\r\r\n" + "z" * 100_000
    (tmp_path / "x.txt").write_bytes(text.encode())
    lines = list(prepare.utf8_lines(tmp_path / "x.txt"))
    assert "".join(line for _, _, line in lines) == text
    assert [line[-2:] for _, _, line in lines[:4]] == ["é\n", "\r\n", "\r", "y\r"]
    assert [at for _, at, _ in lines] == [0, 3, 5, 6, 12, 14]


@pytest.mark.parametrize("kind", ["string", "large_string", "binary"])
def test_texts_of_a_parquet_file_are_read_whatever_their_type(tmp_path: Path, kind: str) -> None:
    """UTF-8 in any of the types that hold it; nothing in place of nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.array(["é", None, "", "x"]).cast(getattr(pa, kind)())
    pq.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    assert list(prepare.parquet_texts(tmp_path / "x.parquet")) == ["é", "x"]
