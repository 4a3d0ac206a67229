"""`wtl benchmark ask-words` on an untrained policy: figures of no meaning, and everything that is written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metalearn.benchmark.ask_words import encoding, measure, run, ways
from metalearn.benchmark.ask_words_page import page
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.asks import Words
from metalearn.data.errors import InvalidConfig
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.family import ParaphrasedFamily, SynonymFamily
from metalearn.tasks.registry import find_family


def untrained() -> Bundle:
    family = find_family("reach-m2")
    assert isinstance(family, ParaphrasedFamily)
    offer = Words.offer([Words(one) for index in range(8) for one in family.sentences(index)], "bag-of-words")
    config = ModelConfig(asks=("words",), ask_offers=(offer,), sentence_encoder="bag-of-words")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = ConditionalPolicy(config, family.spec).to_weights()
    return Bundle("reach", family.spec, config.model_dump(mode="json"), weights)


def test_every_way_is_measured_at_both_attempts_and_drawn() -> None:
    found = measure(untrained(), "reach-m2", 12, 0)
    assert set(found["ways"]) == {
        "words", "other words", "demo", "demo and words", "demo and other words", "nothing", "another task's words"
    }  # fmt: skip
    assert all(len(way["attempts"]) == 2 and way["n"] == 12 for way in found["ways"].values())
    written = page({"reach-m2": {"bag-of-words": found}})
    assert "Control: sentences are read as a bag of words" in written and "| demo and words |" in written


def test_another_tasks_words_are_never_right() -> None:
    family, indices = find_family("reach-m2"), list(range(2_000_000, 2_000_040))
    assert isinstance(family, ParaphrasedFamily)
    asked = ways(family, indices, 0)
    for index in indices:
        right = {*family.sentences(index)}
        assert asked["words"].ask(index).to_json()["words"] in right
        assert asked["other words"].ask(index).to_json()["words"] in family.held_out_sentences(index)
        assert asked["another task's words"].ask(index).to_json()["words"] not in right
        assert asked["words"].ask(index) == ways(family, indices, 0)["words"].ask(index)


def test_an_encoder_is_judged_by_the_nearest_known_sentence() -> None:
    family = find_family("reach-m2")
    assert isinstance(family, ParaphrasedFamily)
    found = encoding("bag-of-words", family, [0, 1, 2, 3])
    assert 0 < found["nearest is right"] <= 1 and found["n"] == len({family.sentences(i) for i in range(4)}) * 6


def test_synonyms_tell_meaning_from_words() -> None:
    pytest.importorskip("minigrid", reason="the extra `babyai` is not installed")
    family = find_family("babyai-go-to-local")
    assert isinstance(family, SynonymFamily)
    indices = list(range(2_000_000, 2_000_006))
    found = encoding("bag-of-words", family, indices)
    assert found["nearest is right"] == 1 and found["synonyms"]["n"] == 6 * 10
    assert found["synonyms"]["nearest is right"] < 0.5  # it knows none of the words that matter
    asked = ways(family, indices, 0)["synonyms"]
    assert asked.ask(indices[1]).to_json()["words"] in family.synonym_sentences(indices[1])


def test_without_a_policy_the_command_that_makes_one_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(InvalidConfig, match="no policy to ask"):
        run(tmp_path, tmp_path / "out", parts=["reach-m2"], say=said.append)
    assert "wtl train reach-m2 --set model.asks=words --out" in said[0]
    assert "--set model.sentence_encoder=bag-of-words" in said[1]
    with pytest.raises(InvalidConfig, match="unknown part 'reach'"):
        run(tmp_path, tmp_path / "out", parts=["reach"], say=said.append)
    assert not np.any([path.is_file() for path in tmp_path.rglob("*")])
