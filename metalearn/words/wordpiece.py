"""Text as the numbers of word pieces, as uncased BERT models read it.

Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language understanding" (2019), appendix A.2;
Wu et al., "Google's neural machine translation system" (2016), section 4.1. Knows no network.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

UNKNOWN, START, END = "[UNK]", "[CLS]", "[SEP]"
LONGEST_WORD = 100  # characters; a longer word is unknown
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Ranges of characters each of which is a word."""


class WordPieces:
    """A vocabulary of word pieces. A piece that goes on with a word begins with ##."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._numbers: Mapping[str, int] = {piece: number for number, piece in enumerate(pieces)}

    def numbers(self, text: str, most: int) -> list[int]:
        """The start, the pieces of the text and the end: at most `most` numbers, the end among them."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._numbers[piece] for piece in (START, *pieces[: most - 2], END)]

    def _pieces(self, word: str) -> list[str]:
        """The longest piece that the word begins with, then the longest of what is left; unknown if there is none."""
        found: list[str] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            ends = range(len(word), start, -1)
            candidates = (("##" if start else "") + word[start:end] for end in ends)
            piece = next((candidate for candidate in candidates if candidate in self._numbers), None)
            if piece is None:
                return [UNKNOWN]
            found.append(piece)
            start += len(piece) - 2 * (start > 0)
        return found or [UNKNOWN]


def _words(text: str) -> Iterator[str]:
    """Words in lower case and without accents; punctuation marks and ideographs are words of their own."""
    for part in "".join(_spaced(text)).split():
        plain = (c for c in unicodedata.normalize("NFD", part).lower() if unicodedata.category(c) != "Mn")
        word = ""
        for character in plain:
            if not _is_punctuation(character):
                word += character
                continue
            yield from (word,) if word else ()
            yield character
            word = ""
        yield from (word,) if word else ()


def _spaced(text: str) -> Iterator[str]:
    """Every character that can be read, with spaces around ideographs."""
    for character in text:
        category = unicodedata.category(character)
        if character.isspace() and category in ("Cc", "Zs"):
            yield " "
        elif category.startswith("C") or character == "\ufffd":
            continue
        else:
            yield f" {character} " if _is_ideograph(character) else character


def _is_ideograph(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in _IDEOGRAPHS)


def _is_punctuation(character: str) -> bool:
    """Whether it stands alone: what Unicode calls punctuation, and every other sign of ASCII."""
    symbol = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return symbol or unicodedata.category(character).startswith("P")
