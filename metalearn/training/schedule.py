"""When a training goes from one phase to the next, and when it ends: after given numbers of steps, or by itself.

Both kinds answer the same questions. What they decide follows from their state and from the looks at validation
tasks that they are told of, and is kept in checkpoints. Knows neither policies nor episodes.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from metalearn.config import TrainingConfig
from metalearn.training.minutes import LEARNING

UNIMODAL_ENOUGH = 0.8  # success with an expert's trial as context at which hypotheses may begin to compete
CLEAR_FROM = 0.5  # success of one behaviour from which on it can be told whether an expert's trial adds anything
RAMP_FROM = 0.01
LAST_RATE = 0.02  # of the learning rate, at the end


@runtime_checkable
class Schedule(Protocol):
    """The phases of a training, at `step` gradient steps.

    Attributes:
        round: 0 in phase I, then the number of the collection whose trials are learnt from.
        ramp_start: the step at which hypotheses began to compete, or None while they do not.
        clear: whether demonstrations leave nothing open: then hypotheses compete only where there are none.
        open_before: whether they seemed to leave something open at the last look, which is to be seen again.
    """

    round: int
    ramp_start: int | None
    clear: bool
    open_before: bool

    def ended(self, step: int) -> bool:
        """Whether the training is over."""
        ...

    def round_due(self, step: int) -> int | None:
        """At how many steps the trials of the next round are due, if there is to be one."""
        ...

    def begin_round(self, step: int, told: float = math.inf) -> None:
        """Take note that the trials of the next round are there.

        `told` are the nats that an episode tells of its hypothesis, which is little where nothing needed hypotheses.
        """
        ...

    def temperature(self, step: int) -> float:
        """0 until one behaviour for all hypotheses works, then annealed geometrically to 1."""
        ...

    def rate(self, step: int) -> float:
        """The learning rate, as a share of its highest."""
        ...

    def foretells(self, step: int) -> bool:
        """Whether hypotheses learn what an expert's trial tells, before they compete for actions."""
        ...

    def batchnorm_frozen(self, step: int) -> bool:
        """Whether BatchNorm normalises with running statistics."""
        ...

    def look(self, step: int, seen: dict[str, float], elapsed_s: float) -> bool:
        """Take note of figures of validation tasks; whether a phase with own trials is over, so that another begins."""
        ...

    def total(self, step: int, elapsed_s: float) -> int:
        """Steps in all, as far as is known when the run has taken so many seconds."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The state, from which a resumed run goes on."""
        ...


@dataclass
class FixedSchedule:
    """Phases of given numbers of steps; the learning rate warms up and then falls by half a cosine."""

    config: TrainingConfig
    competing: bool
    round: int = 0
    ramp_start: int | None = None
    clear: bool = False
    open_before: bool = False

    def ended(self, step: int) -> bool:
        """After all phases."""
        return step >= self.config.total_steps

    def round_due(self, step: int) -> int | None:
        """After the warm-up, and after each round but the last."""
        due = self.config.warmup_steps + self.round * self.config.round_steps
        return due if self.round < self.config.rounds else None

    def begin_round(self, step: int, told: float = math.inf) -> None:
        """Count it."""
        self.round += 1

    def temperature(self, step: int) -> float:
        """Begin to anneal when one behaviour works, or when the rest of the warm-up is just enough for it."""
        if not self.competing:
            return 1.0
        if self.ramp_start is None and step >= max(0, self.config.warmup_steps - self.config.anneal_steps):
            self.ramp_start = step
        return _annealed(step, self.ramp_start, self.config.anneal_steps)

    def rate(self, step: int) -> float:
        """Linear warm-up over 2% of training, then half a cosine."""
        done = step / self.config.total_steps
        return min(1.0, done / 0.02 + 0.01) * _cosine(done)

    def foretells(self, step: int) -> bool:
        """Never: phases of given lengths are too short."""
        return False

    def batchnorm_frozen(self, step: int) -> bool:
        """After a given share of the steps."""
        return step >= self.config.freeze_batchnorm_after * self.config.total_steps

    def look(self, step: int, seen: dict[str, float], elapsed_s: float) -> bool:
        """Let hypotheses compete once one behaviour works."""
        if self.ramp_start is None and seen.get("after_expert", 0.0) >= UNIMODAL_ENOUGH:
            self.ramp_start = step
        return False

    def total(self, step: int, elapsed_s: float) -> int:
        """Known from the beginning."""
        return self.config.total_steps

    def to_json(self) -> dict[str, Any]:
        """Round and start of the annealing."""
        return {"round": self.round, "ramp_start": self.ramp_start}


WARMUP_RATE_STEPS = 50
PATIENCE = 0.35  # a phase ends when nothing has improved for this share of its steps, or
FEWEST_STEPS = 500  # for so many, whichever is more: what a trial tells is found out late, and then at once
WARMUP_SHARE, ROUNDS_SHARE = 0.45, 0.65  # of the time: by then phase I has ended, and the last round
SETTLE_SHARE = 0.35  # of the steps before it: with a falling learning rate
SOLVING = 0.05  # success from which on it alone is to rise: likelihood goes on to, long after
LIKELIER = 0.02  # nats per action: what counts as an improvement of the held-out likelihood
STALE = 0.25  # success that attempts have gained since trials were collected: those are of a policy that is no more
UNUSED = 0.2  # nats that an episode tells of its hypothesis, below which all are alike
FRESH = 0.1  # share of the steps: trials of a policy that is younger by less are as good as new ones
MOST_ROUNDS = 4
FINDING = 0.8  # of the least that hypotheses left unexplained, below which they still find something


@dataclass
class AutomaticSchedule:
    """Phases that end when validation tasks are no longer solved better, within `minutes` or `steps`.

    Phase I learns with a constant rate until nothing improves, or hypotheses have competed for a while; then come
    rounds of own trials, as long as a round improves something, a new one as soon as attempts are no longer like the
    trials that are learnt from; last, on fresh trials, the learning rate falls (warm-up, stable, decay: Hu et al.,
    2024, MiniCPM). Hypotheses compete where one behaviour for all would succeed more often if it had seen an expert's
    trial; elsewhere in contexts without a demonstration alone. Shares of the time are of what was left of it after
    `began_s` seconds, when learning began.
    """

    config: TrainingConfig
    competing: bool
    n_validation: int
    rounds: bool
    began_s: float = 0.0
    round: int = 0
    ramp_start: int | None = None
    open_before: bool = False
    clear: bool = False
    phase_start: int = 0
    round_is_due: bool = False
    due_at: int = 0
    settle_start: int | None = None
    settle_end: int | None = None
    improved_at: int = 0
    best: dict[str, float] = field(default_factory=dict)
    success_of_trials: float | None = None
    least_unexplained: float | None = None
    found_at: int = 0
    best_of_rounds: float = -math.inf
    allowed: int = 0

    def ended(self, step: int) -> bool:
        """After the rate has fallen."""
        return self.settle_end is not None and step >= self.settle_end

    def round_due(self, step: int) -> int | None:
        """Once phase I or a round has brought what it can: at once, or after the steps that trials may lag behind."""
        return self.due_at if self.round_is_due else None

    def begin_round(self, step: int, told: float = math.inf) -> None:
        """Begin to judge the new round; hypotheses that nothing needed so far compete anew for the first failures."""
        self.round += 1
        if self.round == 1 and self.ramp_start is not None and told < UNUSED:
            self.ramp_start = step
        self.round_is_due = False
        self._begin_phase(step)

    def temperature(self, step: int) -> float:
        """Annealed from the look on at which one behaviour worked, or improved no more."""
        return _annealed(step, self.ramp_start, self.config.anneal_steps) if self.competing else 1.0

    def rate(self, step: int) -> float:
        """A short warm-up, then constant, then half a cosine."""
        warm = min(1.0, (step + 1) / WARMUP_RATE_STEPS)
        if self.settle_start is None or self.settle_end is None:
            return warm
        return warm * _cosine((step - self.settle_start) / max(1, self.settle_end - self.settle_start))

    def foretells(self, step: int) -> bool:
        """While the temperature rises for the first time, if there are steps to compete for actions afterwards."""
        if self.ramp_start is None or self.clear or self.round > 0:
            return False
        ramp = self.config.anneal_steps
        return self.competing and step < self.ramp_start + ramp and self.ramp_start + 2 * ramp <= self.allowed

    def batchnorm_frozen(self, step: int) -> bool:
        """Once there are own trials: the mean of a batch is noise to whatever a latent says precisely."""
        return self.round > 0

    def look(self, step: int, seen: dict[str, float], elapsed_s: float) -> bool:
        """Decide whether the phase goes on."""
        before = self.round_is_due, self.settle_start
        self._decide(step, seen, elapsed_s)
        if self.round_is_due and not before[0]:
            self.due_at = step + self.config.staleness
        return self.round > 0 and (self.round_is_due, self.settle_start) != before

    def _decide(self, step: int, seen: dict[str, float], elapsed_s: float) -> None:
        self.allowed = self._allowed(step, elapsed_s)
        if self.settle_end is not None:
            self.settle_end = max(step, min(self.settle_end, self.allowed))
        if self.settle_end is not None or self.round_is_due:
            return
        share = step / self.allowed
        self._note(step, seen)
        patience = max(FEWEST_STEPS, PATIENCE * (step - self.phase_start))
        still = step - self.improved_at >= patience
        if self.competing and self.ramp_start is None and not self.clear:
            self._let_compete(step, seen, over=still or share >= WARMUP_SHARE / 2)
            if not self.clear:
                return
        if self.round == 0:
            over = still or share >= WARMUP_SHARE or (self.rounds and self._competed(step))
            if over and self.rounds:
                self.round_is_due = True
            elif over:
                self._settle(step)
            return
        if still or self._stale(step) or share >= ROUNDS_SHARE or _perfect(seen):
            score = self.best.get("success", -math.inf)
            gained = score > self.best_of_rounds + 0.5 * self._error(score)
            self.best_of_rounds = max(score, self.best_of_rounds)
            last = self.round >= MOST_ROUNDS or share >= ROUNDS_SHARE - 0.1 or not gained or _perfect(seen)
            if last:
                self._settle(step)
            # What the rate falls on are the trials of the policy as it has become, where there is time for both.
            fresh = step - self.phase_start < FRESH * step
            self.round_is_due = not _perfect(seen) and share < ROUNDS_SHARE + 0.05 and not fresh

    def total(self, step: int, elapsed_s: float) -> int:
        """Estimated from the time that is left, until the rate begins to fall."""
        return max(step + 1, self._allowed(step, elapsed_s)) if self.settle_end is None else self.settle_end

    def to_json(self) -> dict[str, Any]:
        """All but the configuration."""
        state = asdict(self)
        for name in ("config", "competing", "n_validation", "rounds"):
            state.pop(name)
        return state | {"best_of_rounds": None if math.isinf(self.best_of_rounds) else self.best_of_rounds}

    def _allowed(self, step: int, elapsed_s: float) -> int:
        """Steps in all: as given, or as many as take what is left of the minutes at the speed so far."""
        if self.config.steps is not None:
            return self.config.steps
        assert self.config.minutes is not None
        learning_s = LEARNING * 60 * self.config.minutes - self.began_s
        return max(step, int(learning_s * step / max(elapsed_s - self.began_s, 1e-9)))

    def _let_compete(self, step: int, seen: dict[str, float], *, over: bool) -> None:
        """Begin to let hypotheses compete, if it is time: everywhere, or where there is no demonstration alone."""
        if self._to_compete(seen, over=over):
            self.ramp_start = step
            self._begin_phase(step)
        elif self.clear and self.config.demo_dropout:
            self.ramp_start = step

    def _to_compete(self, seen: dict[str, float], *, over: bool) -> bool:
        """Whether hypotheses begin to compete: if one behaviour works, but knows more after an expert's trial.

        If it is `over`, what one behaviour can learn, they do, unless the demonstration leaves nothing open.
        """
        after, before = seen.get("after_expert", 0.0), seen.get("trial", 0.0)
        is_open = after - before > 2 * math.hypot(self._error(after), self._error(before))
        if after >= UNIMODAL_ENOUGH and is_open and self.open_before:
            self.open_before = False
            return True
        self.open_before = after >= UNIMODAL_ENOUGH and is_open
        self.clear = over and after >= CLEAR_FROM and not is_open
        return over and not self.clear

    def _competed(self, step: int) -> bool:
        """Whether hypotheses have competed for long enough to try: what follows is learnt from trials too.

        Beside own trials they hardly find what they have not found before. They are not done as long as they explain
        more and more, if not at each look.
        """
        if self.ramp_start is None or self.clear:
            return False
        waited = self.least_unexplained == 0 or step > self.found_at + self.config.anneal_steps
        return waited and step >= self.ramp_start + 2 * self.config.anneal_steps

    def _stale(self, step: int) -> bool:
        """Whether what trials tell has been learnt, and attempts are no longer like them."""
        gained = self.best.get("success", 0.0) - (self.success_of_trials or 0.0)
        return gained > STALE and step > self.improved_at

    def _begin_phase(self, step: int) -> None:
        self.phase_start = self.improved_at = step
        self.best, self.success_of_trials = {}, None

    def _settle(self, step: int) -> None:
        wanted = int(max(SETTLE_SHARE * step, FEWEST_STEPS))
        self.settle_start = step
        self.settle_end = max(step + 1, min(step + wanted, self.allowed))

    def _note(self, step: int, seen: dict[str, float]) -> None:
        """Remember the best figures of the phase, and when the last of them improved."""
        rates = [value for name, value in seen.items() if name.startswith(("trial", "retrial", "after_"))]
        figures = {"success": sum(rates) / len(rates)} if rates else {}
        if rates and self.success_of_trials is None:  # the look at which they were collected
            self.success_of_trials = figures["success"]
        if "likelihood" in seen and figures.get("success", 0.0) < SOLVING:
            figures["likelihood"] = seen["likelihood"]
        if self.round == 0 and self.ramp_start is not None and "unexplained" in seen:
            self._note_unexplained(step, seen["unexplained"])
        for name, value in figures.items():
            before = self.best.get(name, -math.inf)
            if value > before + (LIKELIER if name == "likelihood" else self._error(max(value, 0.0))):
                self.improved_at = step
                self.best[name] = value
        if returns_more(seen, self.best.get("value")):
            self.improved_at, self.best["value"] = step, seen["value"]

    def _note_unexplained(self, step: int, unexplained: float) -> None:
        """Remember the least of what competing hypotheses left unexplained; less than `UNUSED` is nothing."""
        unexplained, least = unexplained if unexplained >= UNUSED else 0.0, self.least_unexplained
        if least is None or unexplained < FINDING * least:
            self.least_unexplained, self.found_at, self.improved_at = unexplained, step, step

    def _error(self, rate: float) -> float:
        """One standard error of a success rate of validation tasks."""
        return standard_error(rate, self.n_validation)


def rates_of_attempts(seen: Mapping[str, float]) -> tuple[float, ...]:
    """Success of the first, second, ... attempt among the figures of a look, without that after an expert's trial."""
    attempts = {name: value for name, value in seen.items() if name.startswith(("trial", "retrial", "after_"))}
    return tuple(value for name, value in attempts.items() if name != "after_expert")


def returns_more(seen: Mapping[str, float], best: float | None) -> bool:
    """Whether recorded returns say at this look that the policy is better than the best, by more than an error."""
    return "value" in seen and (best is None or seen["value"] > best + seen["value_error"])


def standard_error(rate: float, n: int) -> float:
    """Of a success rate of n attempts; of none or all of them that of one in twenty."""
    p = min(max(rate, 0.05), 0.95)
    return math.sqrt(p * (1 - p) / max(n, 1))


def _perfect(seen: dict[str, float]) -> bool:
    """Whether every attempt succeeds in validation tasks, the first and the last included."""
    rates = rates_of_attempts(seen)
    return bool(rates) and min(rates) >= 0.995


def _annealed(step: int, start: int | None, n_steps: int) -> float:
    if start is None:
        return 0.0
    return float(RAMP_FROM ** (1 - min(1.0, (step - start) / n_steps)))


def _cosine(done: float) -> float:
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))


def make_schedule(
    config: TrainingConfig,
    *,
    competing: bool,
    n_validation: int,
    rounds: bool,
    elapsed_s: float,
    state: dict[str, Any],
) -> Schedule:
    """The schedule of a configuration, as it was in the `state` of a checkpoint.

    Args:
        config: with minutes or steps, phases end by themselves within them.
        competing: whether there are several hypotheses.
        n_validation: tasks that a look tries.
        rounds: whether own trials can be collected.
        elapsed_s: seconds that the run has taken before it learns.
        state: what `to_json` gave, or nothing.
    """
    known = {name: value for name, value in state.items() if value is not None}
    if not config.automatic:
        return FixedSchedule(config, competing, **known)
    return AutomaticSchedule(config, competing, n_validation, rounds, **({"began_s": elapsed_s} | known))
