"""The suite `ask-words`: tasks said in words, beside tasks shown, tried, and all of it together.

words                  a sentence of a wording that training had, and no demonstration
other words            a sentence of a wording that training never had
demo                   the demonstration alone
demo and words         both
another task's words   a control: a sentence about something else
nothing                a control: neither

All of it also with a bag of words as the encoder, which tells wording from meaning. A second attempt follows each
first one.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from metalearn.benchmark.ask_words_page import page
from metalearn.benchmark.store import read_json, write_json
from metalearn.bundle import Bundle
from metalearn.data.asks import NOTHING, Ask, Words
from metalearn.data.errors import InvalidConfig
from metalearn.data.sentences import embedding, find_encoder
from metalearn.evaluation.asked import Way, attempts_with, clustered_rate
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Protocol, adapted
from metalearn.evaluation.statistics import paired_bootstrap
from metalearn.model.inference import Inference
from metalearn.tasks.family import ParaphrasedFamily
from metalearn.tasks.registry import find_family

STREAM = 41
MOST_MISSIONS = 40  # whose sentences are compared


@dataclass(frozen=True)
class Part:
    """A manifest, and the experiment whose policy is asked there."""

    manifest: str
    experiment: str


PARTS = {
    part.manifest: part
    for part in (
        Part("reach-m2", "reach-m2"),
        Part("reach-m4", "reach-m4"),
        Part("reach-colour", "reach-colour"),
        Part("babyai-go-to-red-ball", "babyai-go-to-local"),  # the same level with one mission of its eighteen
        Part("babyai-go-to-local", "babyai-go-to-local"),
        Part("babyai-put-next-local", "babyai-put-next-local"),
    )
}
ENCODERS = {"words": "minilm", "bag-of-words": "bag-of-words"}
"""What the names of runs end with -> the sentence encoder."""


def run(
    runs: Path, out: Path, *, parts: Sequence[str] = (), tasks: int = 1000, seed: int = 0, say: Callable[[str], None]
) -> None:
    """Measure every policy that is there, and write `report.json` and the page.

    Args:
        runs: folder of trainings, EXPERIMENT-words and EXPERIMENT-bag-of-words.
        out: of the report. What it has of the same bundles, tasks and seed is not measured again.
        parts: of `PARTS`; all if none is named.
        tasks: of each manifest.
        seed: of the protocol.
        say: called with each line.

    Raises:
        InvalidConfig: an unknown part, or no policy for any.
    """
    if unknown := [name for name in parts if name not in PARTS]:
        raise InvalidConfig(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    kept = read_json(out / "report.json")
    report: dict[str, Any] = kept if isinstance(kept, dict) else {}
    measured = 0
    for part in (PARTS[name] for name in parts or PARTS):
        for ending in ENCODERS:
            bundle = runs / f"{part.experiment}-{ending}" / "bundle"
            if not bundle.exists():
                say(f"{part.manifest}, {ending}: no {bundle}: {_command(part, ending, bundle.parent)} makes it")
                continue
            measured += 1
            found = report.setdefault(part.manifest, {})
            loaded = Bundle.load(bundle)
            header = {"bundle": loaded.id, "tasks": tasks, "seed": seed}
            if {name: found.get(ending, {}).get(name) for name in header} != header:
                found[ending] = header | measure(loaded, part.manifest, tasks, seed)
                write_json(out / "report.json", report)
            say(f"{part.manifest}, {ending}: {_line(found[ending])}")
    if not measured:
        raise InvalidConfig(f"no policy to ask in {runs}")
    (out / "README.md").write_text(page(report))
    say(f"report: {out / 'report.json'}\npage:   {out / 'README.md'}")


def measure(bundle: Bundle, manifest: str, tasks: int, seed: int) -> dict[str, Any]:
    """Success of every way to tell a task, at the first and at the second attempt."""
    frozen = load_manifest(manifest)
    family = find_family(frozen.family)
    if not isinstance(family, ParaphrasedFamily):
        raise InvalidConfig(f"family {family.name} has no sentences that are held out")
    protocol = Protocol.of(family, frozen, seed=seed, n_tasks=min(tasks, frozen.n_tasks))
    player = adapted(Inference.load(bundle))
    contexts = protocol.demonstrations()
    indices = [index for index, _ in protocol.rows()]
    missions = [family.sentences(index)[0] for index in indices]
    is_new = getattr(family, "is_new", lambda _: False)
    new = np.array([is_new(index) for index in indices])
    success = {
        name: attempts_with(protocol, player, contexts, way) for name, way in ways(family, indices, seed).items()
    }
    encoder = next(offer["encoder"] for offer in bundle.model["ask_offers"] if offer["kind"] == "words")
    found: dict[str, Any] = {"encoder": encoder, "ways": {}}
    groups = {"known tasks": ~new, "new tasks": new} if new.any() else {}
    for name, attempts in success.items():
        found["ways"][name] = _rates(attempts, missions, seed)
        for group, rows in groups.items():
            of_group = [mission for mission, there in zip(missions, rows, strict=True) if there]
            found["ways"][name][group] = _rates(attempts[:, rows], of_group, seed)
    found["encoding"] = encoding(found["encoder"].partition("@")[0], family, indices)
    found["differences"] = {
        "other words, over words": _gain(success["other words"][0], success["words"][0], seed),
        "demo and words, over demo": _gain(success["demo and words"][0], success["demo"][0], seed),
        "words and one trial, over words": _gain(success["words"][1], success["words"][0], seed),
    }
    return found


def encoding(encoder: str, family: ParaphrasedFamily, indices: Sequence[int]) -> dict[str, Any]:
    """What the encoder alone is worth: how often the known sentence nearest to a new one is about the same task.

    And the milliseconds of one core that a sentence takes, of which the median is given.
    """
    missions = dict.fromkeys((family.sentences(index), family.held_out_sentences(index)) for index in indices)
    some = list(missions)[:MOST_MISSIONS]
    known = [(sentence, sentences) for sentences, _ in some for sentence in sentences]
    vectors = np.array([embedding(encoder, sentence) for sentence, _ in known])
    right, took_ms = [], []
    for sentences, held_out in some:
        for sentence in held_out:
            started = time.process_time()
            vector = find_encoder(encoder).embed(sentence)
            took_ms.append(1e3 * (time.process_time() - started))
            right.append(known[int((vectors @ vector).argmax())][1] == sentences)
    return {"nearest is right": float(np.mean(right)), "n": len(right), "ms": float(np.median(took_ms))}


def ways(family: ParaphrasedFamily, indices: Sequence[int], seed: int) -> dict[str, Way]:
    """The ways to tell a task, with sentences that depend on its index and on the seed alone."""
    first = {index: family.sentences(index)[0] for index in indices}

    def said(sentences: Callable[[int], Sequence[str]], index: int) -> Ask:
        rng = np.random.default_rng([seed, STREAM, index])
        choice = sentences(index)
        return Ask((Words(choice[int(rng.integers(len(choice)))]),))

    def about_another(index: int) -> Ask:
        rng = np.random.default_rng([seed, STREAM + 1, index])
        others = [one for one in indices if first[one] != first[index]]
        return said(family.sentences, others[rng.integers(len(others))]) if others else NOTHING

    known, held_out = partial(said, family.sentences), partial(said, family.held_out_sentences)
    found = {
        "words": Way(shown=False, ask=known),
        "other words": Way(shown=False, ask=held_out),
        "demo": Way(shown=True),
        "demo and words": Way(shown=True, ask=known),
        "demo and other words": Way(shown=True, ask=held_out),
        "nothing": Way(shown=False),
    }
    if len(set(first.values())) > 1:
        found["another task's words"] = Way(shown=False, ask=about_another)
    return found


def _rates(attempts: Bool[np.ndarray, "t n"], clusters: Sequence[Hashable], seed: int) -> dict[str, Any]:
    """The rate of each attempt, and of the second where the first failed."""
    failed = ~attempts[0]
    after = clustered_rate(attempts[1, failed], [c for c, f in zip(clusters, failed, strict=True) if f], seed)
    rates = [clustered_rate(success, clusters, seed) for success in attempts]
    return {
        "n": int(attempts.shape[1]),
        "attempts": [None if rate is None else {"success": rate[0], "ci95": list(rate[1])} for rate in rates],
        "after a failure": None if after is None else {"success": after[0], "ci95": list(after[1])},
    }


def _gain(after: Bool[np.ndarray, " n"], before: Bool[np.ndarray, " n"], seed: int) -> dict[str, Any]:
    mean, interval = paired_bootstrap(after.astype(np.float64), before.astype(np.float64), np.random.default_rng(seed))
    return {"mean": mean, "ci95": list(interval)}


def _line(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {one['attempts'][0]['success']:.2f}" for name, one in found["ways"].items())


def _command(part: Part, ending: str, folder: Path) -> str:
    encoder = "" if ending == "words" else f" --set model.sentence_encoder={ENCODERS[ending]}"
    return f"`wtl train {part.experiment} --set model.asks=words{encoder} --out {folder}`"
