"""Asks in training: what each episode would have been an answer to, found out in hindsight.

A context asks for what the episode that is imitated turned out to be (Furuta, Matsuo and Gu, "Generalized decision
transformer for offline hindsight information matching", 2022). Every kind is left out at random, so that one set of
weights serves every combination, and none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Shaped
from torch import Tensor

from metalearn.data.asks import NOTHING, Ask, AskKind, AskOffer, Hindsight, features_of, kinds_of
from metalearn.data.asks.kind import EXPERT
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import split
from metalearn.data.spec import Spec
from metalearn.tasks.family import Family, GoalFamily
from metalearn.training.ways import Answer, GoalReader, Ways

ACHIEVED_PART = "achieved_goal"
"""The part of a Dict observation that says what was achieved, as Gymnasium-Robotics names it."""
EACH, GRADED, WITHOUT_DEMOS, WATCHED = 0.5, 0.5, 0.4, 0.15
"""How often each kind is asked for; how often somebody of less skill is shown, where there is anybody; how often nobody
is; and how often nothing is asked for, so that whoever is shown is imitated."""
DRAWS = 4  # of an episode, until it answers every kind that is to be asked for
MOST_LABELS = 4096  # that units are fitted to
MOMENTS = 4  # of an episode, for its goals


def goal_reader(family: Family | None, spec: Spec) -> GoalReader | None:
    """What reads goals: the family's own method, or the part of observations that says it; None without either."""
    if isinstance(family, GoalFamily):
        return family.achieved_goal
    return _achieved_part if ACHIEVED_PART in {part.name for part in spec.parts} else None


def _achieved_part(observations: Shaped[np.ndarray, "n *o"]) -> Float32[np.ndarray, "n g"]:
    return split(observations)[ACHIEVED_PART].reshape(len(observations), -1).astype(np.float32)


@dataclass(frozen=True)
class Shown:
    """A demonstrator of less skill: the frames of the demonstrations, and the answers of the same demonstrator."""

    quality: float
    demos: tuple[int, ...]
    answers: tuple[Answer, ...]


@dataclass
class KnownTask:
    """What can be asked for in one task, and who of less skill can be shown in it."""

    sentences: tuple[str, ...]
    others: tuple[Shown, ...] = ()
    answers: list[Answer] = field(default_factory=list)
    own: list[Answer] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Asked:
    """The asks of b contexts, and what they changed: who is shown, what is imitated, and from where to where.

    Whoever is asked for a moment, as for a goal, is told what to do, and has nothing to guess: that context is `clear`.
    """

    demo: Int[Tensor, "b k"]
    target: Int[Tensor, " b"]
    starts: Int[Tensor, " b"]
    ends: Int[Tensor, " b"]
    asks: Float[Tensor, "b n"]
    clear: Bool[Tensor, " b"]


class Asking:
    """Draws asks for contexts.

    Args:
        offers: what the model is trained for.
        tasks: what can be asked for in each training task.
        goals: reads what was achieved; None where nobody says.
    """

    def __init__(self, offers: Sequence[AskOffer], tasks: Sequence[KnownTask], goals: GoalReader | None) -> None:
        self._offers, self._kinds = offers, kinds_of([offer.kind for offer in offers])
        self.tasks = tasks
        self._ways = Ways(lambda: [answer for known in tasks for answer in known.answers], goals)

    def forget_own(self) -> None:
        """Own attempts will be replaced."""
        for task in self.tasks:
            self._ways.forget(task.own)
            task.own = []

    def draw(
        self,
        task: Int[Tensor, " b"],
        demo: Int[Tensor, "b k"],
        target: Int[Tensor, " b"],
        n_plain: int,
        episodes: Callable[[int], Episode],
        generator: torch.Generator,
    ) -> Asked:
        """Asks for contexts of b tasks that show `demo` (frames of the expert), and would imitate `target`.

        The first ones ask for nothing, but where the expert is nowhere.

        Args:
            task: of each context.
            demo: frames of the demonstrations that it shows, -1 for none.
            target: what it would imitate; -1 where there is no expert.
            n_plain: the number of those that ask for nothing.
            episodes: the episode of a target.
            generator: of everything that is drawn.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        demo, target, starts = demo.clone(), target.clone(), torch.zeros_like(target)
        ends, asks = torch.full_like(target, np.iinfo(np.int64).max), [NOTHING] * len(task)
        for row, known in enumerate(self.tasks[int(i)] for i in task):
            if row < n_plain and target[row] >= 0:
                continue
            wanted = self._wanted(rng, forced=bool(target[row] < 0))
            whom = self._whom(known, rng)
            if whom is not None and (demo[row] >= 0).any():
                demo[row] = torch.tensor((*whom.demos, *[-1] * demo.shape[1])[: demo.shape[1]])
            if wanted and rng.random() < WITHOUT_DEMOS:
                demo[row] = -1
            there = bool((demo[row] >= 0).any())
            shown = None if not there else EXPERT if whom is None else whom.quality
            asks[row], answer, steps = self._ask(known, wanted, shown, int(target[row]), episodes, rng)
            if not asks[row] and whom is not None and there and whom.answers:
                answer = whom.answers[rng.integers(len(whom.answers))]  # the quality that was watched
                steps = range(len(answer.episode))
            if answer is not None:
                target[row], starts[row], ends[row] = answer.target, steps.start, steps.stop
        clear = torch.tensor([_is_clear(ask) for ask in asks])
        return Asked(demo, target, starts, ends, torch.from_numpy(features_of(asks, self._offers)), clear)

    def proposal(self, rng: np.random.Generator) -> Ask:
        """Something that an episode of some task answered, so that it can be asked for in another."""
        known = self.tasks[int(rng.integers(len(self.tasks)))]
        pool = [*known.answers, *known.own]
        answer = pool[int(rng.integers(len(pool)))]
        end = int(rng.integers(1, len(answer.episode) + 1))
        return _labelled(self._kinds, self._hindsight(answer, end, None, known.sentences), rng)

    def every(self, n_rows: int) -> Iterator[tuple[Int[Tensor, " b"], Asked]]:
        """Tasks and answers of every answer, of at most `n_rows` at a time, asked for all kinds that it answered.

        Of who plays they are ways, the same ones at every call: where a whole episode led says little of its actions.
        """
        rng, of_moment = np.random.default_rng(0), any(kind.of_moment for kind in self._kinds)
        found: list[tuple[int, Answer, range, Ask]] = []
        for i, known in enumerate(self.tasks):
            for answer in known.answers:
                plays = of_moment and answer.quality == 0
                for _ in range(MOMENTS if plays else 1):
                    steps, beyond = self._ways.draw(answer, rng) if plays else (range(len(answer.episode)), None)
                    hindsight = replace(self._hindsight(answer, steps.stop, None, known.sentences), beyond=beyond)
                    found.append((i, answer, steps, _labelled(self._kinds, hindsight, rng)))
        for start in range(0, len(found), n_rows):
            tasks, answers, ways, asks = zip(*found[start : start + n_rows], strict=True)
            asked = Asked(
                demo=torch.full((len(tasks), 1), -1),
                target=torch.tensor([one.target for one in answers]),
                starts=torch.tensor([way.start for way in ways]),
                ends=torch.tensor([way.stop for way in ways]),
                asks=torch.from_numpy(features_of(asks, self._offers)),
                clear=torch.tensor([_is_clear(ask) for ask in asks]),
            )
            yield torch.tensor(tasks), asked

    def _wanted(self, rng: np.random.Generator, *, forced: bool) -> list[type[AskKind]]:
        """The kinds to ask for: some, or now and then none, unless `forced` to one that any episode answers."""
        if not forced and rng.random() < WATCHED:
            return []
        wanted = [kind for kind in self._kinds if rng.random() < EACH]
        possible = [kind for kind in self._kinds if kind.of_outcome] if forced else self._kinds
        if not set(wanted) & set(possible):
            wanted.append(possible[rng.integers(len(possible))])
        return wanted

    @staticmethod
    def _whom(known: KnownTask, rng: np.random.Generator) -> Shown | None:
        """Who is shown; None for the expert."""
        if not known.others or rng.random() >= GRADED:
            return None
        return known.others[rng.integers(len(known.others))]

    def _ask(
        self,
        known: KnownTask,
        wanted: Sequence[type[AskKind]],
        shown: float | None,
        target: int,
        episodes: Callable[[int], Episode],
        rng: np.random.Generator,
    ) -> tuple[Ask, Answer | None, range]:
        """The ask, the answer to imitate (None: `target`, the expert's), and which steps of it."""
        pool = [*known.answers, *known.own]
        if not any(kind.of_outcome for kind in wanted) or not pool:
            words = [kind for kind in wanted if not kind.of_outcome]
            if target < 0 or not words:
                return NOTHING, None, range(0)
            hindsight = Hindsight(episodes(target), 0, EXPERT, shown, sentences=known.sentences)
            return _labelled(words, hindsight, rng), None, range(0)
        best: tuple[Ask, Answer, range] | None = None
        for _ in range(DRAWS):
            answer = pool[rng.integers(len(pool))]
            steps, beyond = range(len(answer.episode)), None
            if any(kind.of_moment for kind in wanted):
                steps, beyond = self._ways.draw(answer, rng)
            hindsight = self._hindsight(answer, steps.stop, shown, known.sentences)
            ask = _labelled(wanted, replace(hindsight, beyond=beyond), rng)
            if best is None or len(ask.values) > len(best[0].values):
                best = ask, answer, steps
            if len(ask.values) == len(wanted):
                break
        assert best is not None
        # What nobody asked for is imitated only if the expert did it, or somebody who is shown.
        return best if any(value.of_outcome for value in best[0].values) else (NOTHING, None, range(0))

    def _hindsight(self, answer: Answer, end: int, shown: float | None, sentences: Sequence[str]) -> Hindsight:
        return Hindsight(answer.episode, end, answer.quality, shown, answer.alike, self._ways.path(answer), sentences)


def _is_clear(ask: Ask) -> bool:
    return any(value.of_moment for value in ask.values)


def _labelled(kinds: Sequence[type[AskKind]], hindsight: Hindsight, rng: np.random.Generator) -> Ask:
    """What of these kinds was answered."""
    values = (kind.in_hindsight(hindsight, rng) for kind in kinds)
    return Ask(tuple(value for value in values if value is not None))


def offers_of(
    names: Sequence[str], dataset: Dataset, goals: GoalReader | None, encoder: str, seed: int
) -> tuple[AskOffer, ...]:
    """What a model is trained for that learns these kinds of ask from a data set.

    Raises:
        InvalidConfig: a kind that no episode is an answer to.
    """
    rng, kinds = np.random.default_rng([seed, 21]), kinds_of(names)
    labels: dict[str, list[AskKind]] = {kind.name: [] for kind in kinds}
    for i in rng.permutation(len(dataset.tasks)):
        for hindsight in _every(dataset.tasks[int(i)], goals, rng):
            for value in _labelled(kinds, hindsight, rng).values:
                labels[value.name].append(value)
        if all(len(found) >= MOST_LABELS for found in labels.values()):
            break
    for kind in kinds:
        if not labels[kind.name]:
            raise InvalidConfig(f"model.asks: {kind.name}: expected training data with {kind.needs}, got none")
    return tuple(kind.offer(labels[kind.name][:MOST_LABELS], encoder) for kind in kinds)


def _every(record: TaskRecord, goals: GoalReader | None, rng: np.random.Generator) -> Sequence[Hindsight]:
    """Every episode of a task that can be an answer, beside every demonstrator that can be shown."""
    found = []
    shown = [None, *([EXPERT] if record.demos else []), *(one.quality for one in record.others if one.demos)]
    graded = episodes_with_quality(record)
    alike = alike_of([episode for episode, _ in graded])
    for (episode, quality), same in zip(graded, alike, strict=True):
        achieved = None if goals is None else goals(episode.observations)
        ends = rng.integers(1, len(episode) + 1, MOMENTS) if goals else [len(episode)]
        found += [
            Hindsight(episode, int(end), quality, whom, same, achieved, record.sentences)
            for end in ends
            for whom in shown
        ]
    return found


def episodes_with_quality(record: TaskRecord) -> list[tuple[Episode, float | None]]:
    """The episodes of a task whose executed actions are known, and how good who acted is, if that is known."""
    of_all = [
        *((episode, EXPERT) for episode in record.experts),
        *((episode, one.quality) for one in record.others for episode in one.episodes),
        *((episode, None) for episode in record.trials),
    ]
    return [(episode, quality) for episode, quality in of_all if episode.actions is not None]


def alike_of(episodes: Sequence[Episode]) -> list[tuple[Episode, ...]]:
    """For each episode of one task, all that began alike and in which the same was done."""
    groups = defaultdict[bytes, list[Episode]](list)
    keys = [e.observations[:1].tobytes() + (b"" if e.actions is None else e.actions.tobytes()) for e in episodes]
    for key, episode in zip(keys, episodes, strict=True):
        groups[key].append(episode)
    return [tuple(groups[key]) for key in keys]
