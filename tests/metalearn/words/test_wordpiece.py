"""Golden numbers are those of Hugging Face's `tokenizers` 0.23.3 with the file of all-MiniLM-L6-v2."""

from importlib import resources

import pytest

from metalearn.words.wordpiece import WordPieces

PIECES = WordPieces(resources.files("metalearn.words").joinpath("wordpieces.txt").read_text("utf-8").splitlines())
READ = {
    "go to the red ball": [101, 2175, 2000, 1996, 2417, 3608, 102],
    "Unaffordable café, déjà-vu!": [101, 14477, 4246, 8551, 3085, 7668, 1010, 2139, 3900, 1011, 24728, 999, 102],
    "走到红色的球": [101, 100, 100, 100, 100, 1916, 100, 102],
    "빨간 공": [101, 100, 1455, 30011, 30025, 102],
    "x" * 101: [101, 100, 102],
    "$5 ^_^": [101, 1002, 1019, 1034, 1035, 1034, 102],
    "": [101, 102],
}


@pytest.mark.parametrize("text", READ)
def test_text_is_cut_as_bert_was_trained_on(text: str) -> None:
    assert PIECES.numbers(text, 256) == READ[text]


def test_a_long_text_keeps_its_end_mark() -> None:
    assert PIECES.numbers("go to the red ball", 4) == [101, 2175, 2000, 102]
