"""Sentences as numbers: encoders by name, and the vectors of sentences that were met before.

The module of an encoder is imported only when it is asked for: it brings ONNX Runtime.
"""

import difflib
import importlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from metalearn.data.errors import InvalidConfig
from metalearn.data.extras import missing_library

MINILM = "minilm"
ENCODERS: Mapping[str, str] = {
    MINILM: "metalearn.words.minilm:MiniLM",
    "bag-of-words": "metalearn.words.bag_of_words:BagOfWords",
}
"""Name of an encoder -> `module:Class`, called without arguments."""
REMEMBERED = 16_384
"""Sentences whose vectors are kept."""


@runtime_checkable
class SentenceEncoder(Protocol):
    """What turns a sentence into a unit vector of `size` numbers, the same one every time."""

    size: int

    @property
    def digest(self) -> str:
        """Hexadecimal digits that differ for encoders that give other numbers."""
        ...

    def embed(self, sentence: str) -> Float32[np.ndarray, " e"]:
        """The vector of a sentence. Safe in several threads."""
        ...


@lru_cache
def find_encoder(name: str) -> SentenceEncoder:
    """The encoder of that name. Raises InvalidConfig: there is none, or what it needs is not installed."""
    if name not in ENCODERS:
        close = difflib.get_close_matches(name, ENCODERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(ENCODERS)}"
        raise InvalidConfig(f"unknown sentence encoder {name!r}; {hint}")
    module, _, attribute = ENCODERS[name].partition(":")
    try:
        encoder: SentenceEncoder = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        raise missing_library(error, f"sentence encoder {name}") from error
    return encoder


def identity(name: str) -> str:
    """The name of an encoder, `@` and its digest, as a bundle has it. Raises InvalidConfig."""
    return f"{name}@{find_encoder(name).digest}"


@lru_cache(REMEMBERED)
def embedding(name: str, sentence: str) -> Float32[np.ndarray, " e"]:
    """The vector of a sentence, not to be written to. Raises InvalidConfig."""
    vector = find_encoder(name).embed(sentence)
    vector.flags.writeable = False
    return vector
