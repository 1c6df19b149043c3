"""The local text encoder: unit vectors that depend on the text alone."""

import subprocess
import sys

import numpy as np
import pytest

from assets.traces.text_encoder import TEXT_DIMENSIONS, TEXT_ENCODER, encode_texts

TEXTS = ["strongly_agree", "A court has ruled.", "Was denkt ihr?", "yes", "no", "👍"]


def test_rows_are_unit_vectors_of_the_named_width() -> None:
    vectors_nD = encode_texts(TEXTS)
    assert vectors_nD.shape == (len(TEXTS), TEXT_DIMENSIONS)
    assert vectors_nD.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors_nD, axis=1), 1.0, atol=1e-6)
    assert str(TEXT_DIMENSIONS) in TEXT_ENCODER


def test_a_text_keeps_its_vector_in_any_batch() -> None:
    together_nD = encode_texts(TEXTS)
    alone_nD = np.concatenate([encode_texts([text]) for text in TEXTS])
    np.testing.assert_array_equal(together_nD, alone_nD)


def test_another_process_gives_the_same_bits() -> None:
    script = "from assets.traces.text_encoder import encode_texts; print(encode_texts(['A ruling.']).tobytes().hex())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == encode_texts(["A ruling."]).tobytes().hex()


def test_labels_read_as_words() -> None:
    np.testing.assert_array_equal(encode_texts(["strongly_agree"]), encode_texts(["strongly agree"]))


def test_texts_that_share_words_are_closer_than_texts_that_do_not() -> None:
    one, similar, other = encode_texts(
        ["The court has ruled on abortion.", "A court rules on an abortion law.", "Bread prices fell in spring."]
    )
    assert one @ similar > one @ other + 0.1


def test_angles_are_kept_approximately() -> None:
    """With D = 64 random signs, unrelated texts have a cosine near that of their n-grams, here zero by construction."""
    rng = np.random.default_rng(0)
    letters = ["abcdef", "ghijkl", "mnopqr", "stuvwx"]
    texts = [" ".join("".join(rng.choice(list(alphabet), 9)) for _ in range(12)) for alphabet in letters]
    cosines = encode_texts(texts) @ encode_texts(texts).T
    assert np.abs(cosines[~np.eye(4, dtype=bool)]).max() < 4 / np.sqrt(TEXT_DIMENSIONS)


@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
def test_blank_text_is_refused_by_position(blank: str) -> None:
    with pytest.raises(ValueError, match="Text 1 of 2 is blank"):
        encode_texts(["yes", blank])


def test_no_texts_give_no_rows() -> None:
    assert encode_texts([]).shape == (0, TEXT_DIMENSIONS)
