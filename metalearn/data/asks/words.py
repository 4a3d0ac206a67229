"""The ask in words. In hindsight: a sentence that describes the task, said by its family or its data set.

Lynch and Sermanet, "Language conditioned imitation learning over unstructured data" (2021); Jang et al., "BC-Z" (2022).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from metalearn.data.asks.kind import AskKind, AskOffer, Hindsight
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.sentences import MINILM, embedding, find_encoder, identity

LONGEST = 400
N_EXAMPLES = 8
EXPECTED = f"a sentence of 1 to {LONGEST} characters"


@dataclass(frozen=True)
class Words(AskKind):
    """A sentence that says what the task is. Space at its ends and between its words does not count."""

    name = "words"
    of_outcome = False
    needs = "tasks that are described by sentences (a family's method sentences, or TaskRecord.sentences)"
    typed = "words='go to the red ball'"

    sentence: str

    def to_json(self) -> str:
        """The sentence."""
        return self.sentence

    @classmethod
    def from_json(cls, value: object) -> "Words":
        """The ask of a string of printable characters, in any script. Raises InvalidData."""
        if not isinstance(value, str):
            raise InvalidData("ask.words", EXPECTED, "null" if value is None else type(value).__name__)
        if len(value) > LONGEST:
            raise InvalidData("ask.words", EXPECTED, f"{len(value)} characters")
        sentence = " ".join(unicodedata.normalize("NFC", value).split())
        if not sentence:
            raise InvalidData("ask.words", EXPECTED, "none but space")
        odd = [c for c in sentence if unicodedata.category(c) in ("Cc", "Cs")]
        if odd:
            raise InvalidData("ask.words", f"{EXPECTED}, without control characters", f"U+{ord(odd[0]):04X}")
        return cls(sentence)

    @classmethod
    def from_text(cls, text: str) -> Any:
        """The sentence as it was typed."""
        return text

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Words | None":
        """One of the sentences that describe the task; None for a task that nobody described."""
        if not known.sentences:
            return None
        return cls.from_json(known.sentences[int(rng.integers(len(known.sentences)))])

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str = MINILM) -> AskOffer:
        """The encoder, a unit in which the sentences differ from their mean by about 1, and a few of them."""
        sentences = list(dict.fromkeys(str(label.to_json()) for label in labels))
        vectors = np.array([embedding(encoder, sentence) for sentence in sentences], np.float64)
        mean = vectors.mean(0)
        spread = float((vectors - mean).std()) or 1.0
        return AskOffer(
            kind=cls.name,
            mean=tuple(float(x) for x in mean),
            spread=(spread,) * len(mean),
            encoder=identity(encoder),
            examples=tuple(sentences[:: -(-len(sentences) // N_EXAMPLES)]),
        )

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        """The numbers of a vector of the encoder."""
        return len(offer.mean)

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        """A sentence, and one of those of training."""
        return f"{EXPECTED}, as {offer.examples[0]!r}" if offer.examples else EXPECTED

    def check(self, offer: AskOffer) -> None:
        """Raise InvalidData unless the encoder that the model was trained with is installed."""
        encoder, _, digest = offer.encoder.partition("@")
        expected = f"none: this model reads words with the encoder {encoder} {digest[:12]}"
        try:
            here = find_encoder(encoder).digest
        except InvalidConfig as error:
            raise InvalidData("ask.words", expected, str(error)) from error
        if here != digest:
            raise InvalidData("ask.words", expected, f"{encoder} {here[:12]} is installed here")

    def features(self, offer: AskOffer) -> Float32[np.ndarray, " e"]:
        """The vector of the sentence, in the units of the offer."""
        vector = embedding(offer.encoder.partition("@")[0], self.sentence)
        return offer.scaled(vector.tolist())
