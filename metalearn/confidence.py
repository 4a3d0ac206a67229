"""How far to trust what is adapted: will the next attempt succeed, what is one more trial worth, are the demos
like those that the policy was trained on? Numpy only; the weights come with a bundle.

Does not know how its weights are made (`metalearn.training.calibrate`), nor torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metalearn.adapter import Belief
from metalearn.bundle import Bundle, Weights
from metalearn.data.asks import AskOffer, features_of
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.frames import Frames
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.data.units import Units

N_FRAMES = 6
N_KINDS, STRANGE_UNTRIED = 4, 2  # of `kind`
MOST_EPISODES = 4  # more demos, or more trials of one outcome, count as so many
UNLIKE = 0.99  # novelty from which on a demo is like none that is known
FAR = 8.0  # standard deviations beyond which a number is no stranger


@dataclass(frozen=True)
class ConfidenceEstimate:
    """How far to trust what was adapted to a context.

    Attributes:
        success: probability, 0 .. 1, that the next attempt succeeds, made as `Adapter.adapt` makes it: under a
            sampled hypothesis until a trial was scored, under the most probable one from then on, or whichever a
            model that searches chooses.
        value_of_trial: probability that the attempt after that one succeeds, minus `success`: what it is worth
            to spend the next attempt on trying.
        novelty: where the strangest demo stands among the demos of validation tasks, as a quantile, 0 .. 1:
            0.5 is typical, from 0.99 on it is unlike anything trained on. None without demos.
    """

    success: float
    value_of_trial: float
    novelty: float | None


def part(weights: Weights, name: str) -> dict[str, Array]:
    """The arrays of one part of a bundle's confidence, by their names within it."""
    return {key.removeprefix(f"{name}."): np.asarray(v) for key, v in weights.items() if key.startswith(f"{name}.")}


def portraits(demos: Sequence[Episode], spec: Spec) -> Float[np.ndarray, "n p"]:
    """Each demo as one vector: observations, changes (of what is no pixel) and times of N_FRAMES frames.

    Actions, rewards and success are left out: a demo is no stranger for what nobody recorded of it.
    """
    frames = Frames.of([Episode(demo.observations) for demo in demos], N_FRAMES, Units(spec))
    blocks = (frames.vectors, frames.changes, frames.times)
    return np.concatenate([block.reshape(len(demos), -1) for block in blocks], 1)


class Novelty:
    """How strange a demo is: its Mahalanobis distance, and a network that tells demos from shuffled ones.

    score = z(log distance) + z(-logit), both standardised on held-out demos. The distance is of the leading
    principal components, plus what they leave (T. Jolliffe, "Principal Component Analysis", 2002, section
    10.1); the logit is that of log p(demo) / p(shuffled) (Gutmann and Hyvaerinen, "Noise-contrastive
    estimation", AISTATS 2010).
    """

    def __init__(self, weights: Mapping[str, Array], spec: Spec) -> None:
        self._weights, self._spec = weights, spec
        n_numbers = N_FRAMES * (spec.observation_size + len(beside_pictures(spec.parts)) + 1)
        if weights["mean"].shape != (n_numbers,):
            got = list(weights["mean"].shape)
            raise InvalidConfig(f"confidence: novelty.mean: expected shape [{n_numbers}], got {got}")
        self.parts(np.zeros((1, n_numbers), np.float32))

    def scores(self, demos: Sequence[Episode]) -> Float[np.ndarray, " n"]:
        """Of each demo; 0 is typical, a few is strange, without an upper end."""
        w = self._weights
        distance, logit = self.parts(portraits(demos, self._spec))
        score = (distance - w["middle"][0]) / w["spread"][0] + (-logit - w["middle"][1]) / w["spread"][1]
        return score.astype(np.float64)

    def parts(self, seen: Float[np.ndarray, "n p"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """log of the squared distance, and the logit of being a real demo, of portraits."""
        w = self._weights
        normal = np.clip((seen - w["mean"]) / w["std"], -FAR, FAR)
        components = normal @ w["axes"]
        left = np.maximum((normal**2).sum(1) - (components**2).sum(1), 0)
        distance = np.log((components**2 / w["variances"]).sum(1) + left / w["residual"] + 1e-6)
        return distance, np.clip(_network(w, normal)[:, 0], -FAR, FAR)

    def quantile(self, score: float) -> float:
        """The share of held-out demos that are less strange, strictly between 0 and 1."""
        known = self._weights["known"]
        return float((np.searchsorted(known, score) + 0.5) / (len(known) + 1))


class Confidence:
    """Estimates of one model's success. Reads beliefs and contexts, not observations to come."""

    def __init__(self, weights: Weights, spec: Spec, offers: Sequence[AskOffer] = ()) -> None:
        """Raises InvalidConfig where arrays are missing or do not fit."""
        self._offers = offers
        try:
            novelty = part(weights, "novelty")
            self.novelty = Novelty(novelty, spec) if novelty else None
            self._head = part(weights, "success")
            self._size = len(self._head["mean"])
            self._probabilities(np.zeros(self._size, np.float32), N_KINDS - 1)
        except (KeyError, IndexError, ValueError) as error:
            raise InvalidConfig(f"confidence: its weights do not fit each other: {error!r}") from error

    @classmethod
    def of(cls, bundle: Bundle) -> "Confidence | None":
        """Of a bundle; None for one that was not calibrated. Raises InvalidConfig."""
        return None if bundle.confidence is None else cls(bundle.confidence, bundle.spec, bundle.asks)

    def estimate(self, belief: Belief, context: Context) -> ConfidenceEstimate | None:
        """What to expect of the next attempt in `context`, of which `belief` is what the model made.

        None where something is asked for, and the model was calibrated without asks.
        """
        score = self._score(context)
        novelty = None if score is None or self.novelty is None else self.novelty.quantile(score)
        seen = describe(belief, context, score, self._offers)
        if len(seen) > self._size:
            if context.ask:
                return None
            seen = describe(belief, context, score)
        success, later = self._probabilities(seen, kind(context, novelty))
        return ConfidenceEstimate(success, later - success, novelty)

    def _score(self, context: Context) -> float | None:
        if self.novelty is None or not context.demos:
            return None
        return float(self.novelty.scores(context.demos).max())

    def _probabilities(self, seen: Float[np.ndarray, " f"], group: int) -> tuple[float, float]:
        if len(seen) != self._size:
            raise InvalidConfig(f"confidence: expected {self._size} numbers of a belief, got {len(seen)}")
        head = self._head
        logits = _network(head, standardised(seen[None], head["mean"], head["std"]))[0]
        with np.errstate(over="ignore"):
            scaled = head["slopes"][group] * logits + head["offsets"][group]
            success, later = 1 / (1 + np.exp(-scaled.astype(np.float64)))
        return float(success), float(later)


def kind(context: Context, novelty: float | None) -> int:
    """Which scaling holds, 0 .. N_KINDS - 1: whether a trial was scored, and whether the demos are unlike any.

    Policies act otherwise before and after a score, and one scaling for all would be decided by the easier
    contexts; strange demos are rare, and it would be decided without them.
    """
    return int(context.scored) + 2 * int(novelty is not None and novelty >= UNLIKE)


def describe(
    belief: Belief, context: Context, score: float | None, offers: Sequence[AskOffer] = ()
) -> Float[np.ndarray, " f"]:
    """All that success is predicted from: the belief, how often was shown and tried and how that went, the latent.

    And, of a model that searches, how likely each behaviour succeeds; of a model with offers, what is asked for.
    """
    p = belief.probabilities.astype(np.float32)
    outcomes = [trial.success for trial in context.trials]
    last = context.trials[-1] if context.trials else None
    counted = [len(context.demos), outcomes.count(True), outcomes.count(False), outcomes.count(None)]
    beside = [
        (p**2).sum(),  # how often a sampled hypothesis is right, if the belief is
        belief.entropy,
        *(min(n, MOST_EPISODES) for n in counted),
        not context.demos,
        not context.trials,
        context.scored,
        0 if last is None or last.success is None else 2 * last.success - 1,
        0 if last is None or last.rewards is None else last.rewards.sum(),
        np.mean([demo.actions is not None for demo in context.demos]) if context.demos else 0,
        0 if score is None else np.clip(score, -FAR, FAR),
    ]
    searched = np.zeros(0, np.float32) if belief.success is None else np.sort(belief.success)[::-1]
    asked = features_of([context.ask], offers)[0]
    known = (np.sort(p)[::-1], np.array(beside, np.float32), belief.latent.astype(np.float32), searched, asked)
    return np.concatenate(known)


def standardised(
    seen: Float[np.ndarray, "n f"], mean: Float[np.ndarray, " f"], std: Float[np.ndarray, " f"]
) -> Float[np.ndarray, "n f"]:
    """Zero mean and unit deviation, clipped at 5 deviations."""
    return np.clip((seen - mean) / std, -5, 5)


def _network(w: Mapping[str, Array], x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n q"]:
    """Layers `hidden1`, `hidden2`, ... with ReLU, then `out`; each with its `_bias`."""
    for layer in sorted(key for key in w if key.startswith("hidden") and not key.endswith("_bias")):
        x = np.maximum(x @ w[layer] + w[f"{layer}_bias"], 0)
    return x @ w["out"] + w["out_bias"]
