"""The nanogpt lab's prepare.py: the tokenizer."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("tokenizers")
pytest.importorskip("tiktoken")
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.prepare_lab import CORPUS, SPEC, prepare


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
