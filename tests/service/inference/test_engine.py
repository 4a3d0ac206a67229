"""Inference off the event loop: batched across callers, bounded, and each caller gets its own answer."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.pointing import PointingRuntime, bundle

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidData
from service.errors import Busy
from service.inference import ActResult, AdaptedPolicy, Engine
from service.inference.belief_cache import BeliefCache
from service.inference.latency import LatencyTracker
from service.observability.metrics import Metrics


class GatedRuntime(PointingRuntime):
    """Waits for its gate, so that a test decides what queues up behind it."""

    def __init__(self) -> None:
        super().__init__(bundle())
        self.gate, self.entered = threading.Event(), threading.Event()

    def act(self, conditionings: Array, observations: Array) -> Array:
        self.entered.set()
        assert self.gate.wait(10)
        return super().act(conditionings, observations)


class ThreadNamingRuntime(PointingRuntime):
    """Notes where it runs, and takes as long as it is told to."""

    def __init__(self, source: Bundle) -> None:
        super().__init__(source)
        self.threads: list[str] = []
        self.seconds = 0.0

    def act(self, conditionings: Array, observations: Array) -> Array:
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds)
        return super().act(conditionings, observations)


class FussyRuntime(PointingRuntime):
    """Fails on contexts without demos."""

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        if not all(context.demos for context in contexts):
            raise ArithmeticError("no demos")
        return super().infer_belief(contexts)


def make(
    queue_size: int = 100, timeout_s: float = 10, belief_bytes: int = 100_000, short_pass_s: float = 0.0
) -> Engine:
    return Engine(
        Metrics.make(),
        queue_size=queue_size,
        batch_rows=64,
        timeout_s=timeout_s,
        belief_bytes=belief_bytes,
        short_pass_s=short_pass_s,
    )


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = make()
    engine.start()
    yield engine
    engine.close()


def conditioning(x: float) -> Array:
    return np.array([x, 0], np.float32)


def adapted(latent_dim: int = 2) -> AdaptedPolicy:
    latent = np.zeros(latent_dim, np.float32)
    return AdaptedPolicy(Belief(latent, np.array([1, 0], np.float32)), latent[:0], None)


def rows(n: int) -> Array:
    return np.zeros((n, 3), np.float32)


def test_who_waits_together_is_computed_together(engine: Engine) -> None:
    runtime = GatedRuntime()
    goals = [0.1, 0.2, 0.3, 0.4]
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(engine.act, runtime, conditioning(0.9), rows(1))
        assert runtime.entered.wait(10)
        others = [pool.submit(engine.act, runtime, conditioning(x), rows(n + 1)) for n, x in enumerate(goals)]
        while engine.n_waiting < len(goals):
            time.sleep(0.001)
        runtime.gate.set()
        assert first.result().actions.tolist() == [[pytest.approx(0.9), 0]]
        for n, (x, other) in enumerate(zip(goals, others, strict=True)):
            np.testing.assert_allclose(other.result().actions, [[x, 0]] * (n + 1))
    assert runtime.batches == [1, 10]


def test_two_models_are_not_mixed(engine: Engine) -> None:
    weak, strong = PointingRuntime(bundle(gain=0.1)), PointingRuntime(bundle(gain=1.0))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: engine.act((weak, strong)[i % 2], conditioning(1), rows(1)), range(40)))
    np.testing.assert_allclose([a.actions[0, 0] for a in answers], [0.1, 1.0] * 20, rtol=1e-6)


def test_a_context_is_encoded_once(engine: Engine, demo: Episode) -> None:
    runtime = PointingRuntime(bundle())
    for _ in range(3):
        engine.adapt(("a", 1), runtime, lambda: Context((demo,)))
    assert runtime.n_inferred == 1
    engine.evict("a")
    engine.adapt(("a", 1), runtime, lambda: Context((demo,)))
    assert runtime.n_inferred == 2


def test_the_belief_that_was_not_used_for_longest_makes_room(demo: Episode) -> None:
    engine, runtime = make(belief_bytes=2 * adapted().n_bytes), PointingRuntime(bundle())
    engine.start()
    for key in "abca":
        engine.adapt((key, 1), runtime, lambda: Context((demo,)))
    engine.close()
    assert runtime.n_inferred == 4


def test_one_bad_context_does_not_fail_its_neighbours(engine: Engine, demo: Episode) -> None:
    runtime = FussyRuntime(bundle())
    contexts = [Context((demo,)) if i % 2 else Context() for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(engine.adapt, (str(i), 1), runtime, lambda c=c: c) for i, c in enumerate(contexts)]
    assert [isinstance(future.exception(), ArithmeticError) for future in found] == [True, False] * 4


def test_numbers_that_overflow_in_the_model_are_the_askers_mistake(engine: Engine, demo: Episode) -> None:
    runtime = PointingRuntime(bundle(gain=np.inf))
    policy = engine.adapt(("a", 1), runtime, lambda: Context((demo,)))
    with np.errstate(invalid="ignore"), pytest.raises(InvalidData, match="numbers that the model can bear"):
        engine.act(runtime, policy.conditioning, demo.observations[-1:])


def test_a_full_queue_and_a_slow_model_mean_busy() -> None:
    engine, runtime = make(queue_size=1, timeout_s=0.2), GatedRuntime()
    engine.start()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(engine.act, runtime, conditioning(1), rows(1))
        assert runtime.entered.wait(10)
        others = [pool.submit(engine.act, runtime, conditioning(1), rows(1)) for _ in range(3)]
        reasons = sorted(str(future.exception()) for future in [first, *others])
    runtime.gate.set()
    engine.close()
    assert reasons == ["the model did not answer in time"] * 2 + ["too many requests are waiting for the model"] * 2
    assert not engine.alive
    with pytest.raises(Busy, match="shutting down"):
        engine.act(runtime, conditioning(1), rows(1))


def test_beliefs_are_bounded_in_bytes_not_in_number() -> None:
    beliefs = BeliefCache(max_bytes=10_000)
    for i in range(1000):
        beliefs.put((str(i), 1), adapted(i))
    assert 5_000 < beliefs.n_bytes <= 10_000
    beliefs.put(("large", 1), adapted(10_000))
    assert beliefs.get(("large", 1)) is None
    assert beliefs.n_bytes == 0


def test_a_coroutine_is_answered_as_a_thread_is(engine: Engine) -> None:
    async def ask() -> list[ActResult]:
        return await asyncio.gather(*(engine.act_async(runtime, conditioning(x), rows(n)) for x, n in asked))

    runtime, asked = PointingRuntime(bundle()), [(0.1, 1), (0.2, 3), (0.3, 1)]
    for (x, n), acted in zip(asked, asyncio.run(ask()), strict=True):
        np.testing.assert_allclose(acted.actions, [[x, 0]] * n)
    assert runtime.batches == [5]


def test_a_short_pass_runs_where_it_is_asked_for_and_a_long_one_does_not() -> None:
    engine, runtime = make(short_pass_s=0.02), ThreadNamingRuntime(bundle())
    engine.start()

    async def ask(n: int) -> None:
        for _ in range(3):
            await engine.act_async(runtime, conditioning(1), rows(n))

    asyncio.run(ask(1))
    runtime.seconds = 0.1
    asyncio.run(ask(32))
    engine.close()
    assert runtime.threads == ["inference", "MainThread", "MainThread", "inference", "inference", "inference"]


def test_one_slow_pass_does_not_make_a_model_slow() -> None:
    latency, runtime = LatencyTracker(short_s=1e-3), PointingRuntime(bundle())
    assert not latency.is_short(runtime, 1)
    for taken_s, n, short in ((1e-4, 1, True), (1.0, 10, True), (1.0, 1, False), (1e-4, 1, True), (1.0, 10, True)):
        for _ in range(n):
            latency.record(runtime, 1, taken_s)
        assert latency.is_short(runtime, 1) is short
    assert not latency.is_short(runtime, 64)


def test_a_pass_that_looks_long_is_tried_now_and_then_unless_it_looks_far_too_long() -> None:
    latency, runtime = LatencyTracker(short_s=1e-3), PointingRuntime(bundle())
    latency.record(runtime, 64, 4e-3)  # in the worker, waiting for the interpreter
    assert sum(latency.is_short(runtime, 64) for _ in range(320)) == 10
    latency.record(runtime, 64, 1e-4)
    assert all(latency.is_short(runtime, 64) for _ in range(10))
    latency.record(runtime, 500, 2e-3)
    assert latency.is_short(runtime, 500, n_requests=500)  # handing so many over takes longer
    latency.record(runtime, 1000, 1.0)
    assert not any(latency.is_short(runtime, 1000) for _ in range(320))


def test_one_that_is_alone_may_take_longer_but_is_not_tried_if_it_looks_far_too_long() -> None:
    latency, runtime = LatencyTracker(short_s=1e-3), PointingRuntime(bundle())
    latency.record(runtime, 1, 3e-3)
    assert all(latency.is_short(runtime, 1, patience=4) for _ in range(10))
    assert sum(latency.is_short(runtime, 1) for _ in range(320)) == 10
    latency.record(runtime, 4, 10e-3)
    assert not any(latency.is_short(runtime, 4, patience=4) for _ in range(320))


def test_those_that_come_together_are_acted_for_together_and_one_that_is_alone_at_once() -> None:
    engine, runtime = make(short_pass_s=10), PointingRuntime(bundle())
    engine.start()

    async def ask(n: int) -> None:
        await asyncio.gather(*(engine.act_async(runtime, conditioning(1), rows(1)) for _ in range(n)))

    async def asked() -> None:
        for n in (1, 1, 1, 5, 5, 5, 1, 1):
            await ask(n)
            await asyncio.sleep(0.01)

    asyncio.run(asked())
    engine.close()
    # The first of five that nobody expects is taken for one that is alone.
    assert runtime.batches == [1, 1, 1, 1, 4, 5, 5, 1, 1]


def test_an_event_loop_is_told_busy_too() -> None:
    engine, runtime = make(queue_size=2, timeout_s=0.2), GatedRuntime()
    engine.start()

    async def ask() -> list[object]:
        asked = [asyncio.create_task(engine.act_async(runtime, conditioning(1), rows(1)))]
        await asyncio.to_thread(runtime.entered.wait, 10)
        asked += [asyncio.create_task(engine.act_async(runtime, conditioning(1), rows(1))) for _ in range(4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    reasons = sorted(map(str, asyncio.run(ask())))
    runtime.gate.set()
    engine.close()
    assert reasons == ["the model did not answer in time"] * 3 + ["too many requests are waiting for the model"] * 2


def test_who_has_gone_is_not_computed_for(engine: Engine) -> None:
    runtime = GatedRuntime()

    async def ask() -> ActResult:
        first = asyncio.create_task(engine.act_async(runtime, conditioning(0.5), rows(1)))
        await asyncio.to_thread(runtime.entered.wait, 10)
        gone = asyncio.create_task(engine.act_async(runtime, conditioning(1), rows(7)))
        await asyncio.sleep(0.01)
        gone.cancel()
        runtime.gate.set()
        return await first

    assert asyncio.run(ask()).actions.tolist() == [[0.5, 0]]
    assert asyncio.run(engine.act_async(runtime, conditioning(0.25), rows(1))).actions.tolist() == [[0.25, 0]]
    assert runtime.batches == [1, 1]
