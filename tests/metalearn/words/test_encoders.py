from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from metalearn.data import sentences
from metalearn.data.errors import InvalidConfig
from metalearn.data.sentences import ENCODERS, embedding, find_encoder, identity
from metalearn.words import minilm


@pytest.fixture
def _nothing_found_yet() -> Iterator[None]:
    find_encoder.cache_clear()
    yield
    find_encoder.cache_clear()


@pytest.mark.parametrize("name", ENCODERS)
def test_a_sentence_is_one_unit_vector_in_every_thread(name: str) -> None:
    encoder = find_encoder(name)
    with ThreadPoolExecutor(3) as pool:
        vectors = list(pool.map(encoder.embed, ["go to the red ball"] * 3))
    assert vectors[0].shape == (encoder.size,) and np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)
    for vector in vectors:
        np.testing.assert_array_equal(vector, vectors[0])
    assert identity(name) == f"{name}@{encoder.digest}"


def test_minilm_tells_meaning_from_wording_and_a_bag_of_words_does_not() -> None:
    def likeness(encoder: str, one: str, other: str) -> float:
        return float(embedding(encoder, one) @ embedding(encoder, other))

    assert likeness("minilm", "pick up the ball", "grab the sphere") > 0.5
    assert likeness("bag-of-words", "pick up the ball", "grab the sphere") < 0.4
    assert likeness("bag-of-words", "a red ball by a blue box", "a blue ball by a red box") > 0.999
    assert likeness("minilm", "a red ball by a blue box", "a blue ball by a red box") < 0.999


def test_any_script_and_none_is_read() -> None:
    for sentence in ("Иди к красному шару", "走到红色的球", "اذهب إلى الكرة", "🟥", "?"):
        assert np.isfinite(embedding("minilm", sentence)).all()


def test_vectors_are_kept_and_not_to_be_changed() -> None:
    vector = embedding("bag-of-words", "kept")
    assert embedding("bag-of-words", "kept") is vector
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1


def test_an_unknown_encoder_gets_a_suggestion() -> None:
    with pytest.raises(InvalidConfig, match="did you mean minilm"):
        find_encoder("minilms")


@pytest.mark.usefixtures("_nothing_found_yet")
def test_an_encoder_whose_weights_are_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "WEIGHTS", "no_such_wheel")
    monkeypatch.setattr(sentences, "missing_library", lambda error, what: InvalidConfig(f"{what}: {error.name}"))
    with pytest.raises(InvalidConfig, match="sentence encoder minilm: no_such_wheel"):
        find_encoder("minilm")
