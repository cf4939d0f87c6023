"""The nanogpt lab's prepare.py: downloads from a server that misbehaves."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")

from labs.prepare_lab import TINY, Lab, Shop, parquet, prepare, tiny


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
    """After a cut connection, the rest is requested by Range, in the same run."""
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
    assert "move it away" in err
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
    """Without an answer, the message says so and names the remedies."""
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
