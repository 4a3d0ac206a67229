"""A control for sentence encoders: which words a sentence has, in any order, and nothing of what they mean."""

import hashlib
import re

import numpy as np
from jaxtyping import Float32


class BagOfWords:
    """The mean of a random unit vector for each word, the same everywhere and for ever, as a unit vector."""

    size = 384
    digest = "1"

    def embed(self, sentence: str) -> Float32[np.ndarray, " 384"]:
        """The vector of a sentence."""
        words = re.findall(r"\w+", sentence.casefold()) or [""]
        total = np.sum([_vector(word, self.size) for word in words], 0)
        return (total / max(float(np.linalg.norm(total)), 1e-9)).astype(np.float32)


def _vector(word: str, size: int) -> Float32[np.ndarray, " n"]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=size)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
