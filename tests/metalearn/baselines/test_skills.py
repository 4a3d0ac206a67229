import dataclasses

import numpy as np
import pytest
from support.corridor import ShownCorridor, side_of

from metalearn.baselines.skills import ConstantSkill, Skills, SkillSearch, clusters_of, find_skills
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.rollout import demonstrate

SMALL = ModelConfig(encoder_width=8, latent_dim=4, policy_width=8, n_hypotheses=3)


class TypedCorridor(ShownCorridor):
    def task_type(self, index: int) -> str:
        return "right" if side_of(index) > 0 else "left"


@pytest.fixture(scope="module")
def inference() -> Inference:
    return Inference(ConditionalPolicy(SMALL, ShownCorridor.spec), ShownCorridor.spec)


def shown(*tasks: int) -> list[Episode]:
    return list(demonstrate(ShownCorridor(), list(tasks), [0] * len(tasks), "demo").episodes)


def as_trial(episode: Episode, success: bool) -> Episode:
    return dataclasses.replace(episode, success=success)


def test_search_begins_with_the_nearest_skill_shifts_after_a_failure_and_stays_after_a_success(
    inference: Inference,
) -> None:
    (demo,) = shown(1)
    own = inference.infer_belief([Context(demos=(demo,))])[0].latent
    skills = Skills(np.stack([own + 9, own, own + 1]).astype(np.float32), np.array([0, 1, 2]))
    search, rng = SkillSearch(inference, skills), np.random.default_rng(0)

    def skill_after(*outcomes: bool) -> int:
        trials = tuple(as_trial(demo, success) for success in outcomes)
        return int(search.adapt([Context(demos=(demo,), trials=trials)], rng).hypotheses[0])

    assert [skill_after(*[False] * n) for n in range(4)] == [1, 2, 0, 1]
    assert skill_after(False, True) == skill_after(False, True, True) == 2
    assert skill_after(False, True, False) == 0


def test_constant_skill_heeds_nothing(inference: Inference) -> None:
    skills = Skills(np.zeros((3, 4), np.float32), np.array([0, 1, 2]))
    (demo,) = shown(1)
    contexts = [Context(), Context(demos=(demo,)), Context(trials=(as_trial(demo, False),))]
    actor = ConstantSkill(inference, skills, 2).adapt(contexts, np.random.default_rng(0))
    assert actor.hypotheses.tolist() == [2, 2, 2]


def test_skills_are_the_mean_latents_of_types(inference: Inference) -> None:
    family, tasks = TypedCorridor(), [1, 2, 3, 4]
    records = [TaskRecord(f"corridor/{i:04d}", (demo,), (demo,)) for i, demo in zip(tasks, shown(*tasks), strict=True)]
    skills = find_skills(inference, family, Dataset(family.spec, tuple(records)), n_clusters=16, seed=0)
    beliefs = inference.infer_belief([Context(demos=record.demos) for record in records])
    right = np.mean([belief.latent for belief in beliefs[::2]], 0)  # tasks 1 and 3
    left = np.mean([belief.latent for belief in beliefs[1::2]], 0)
    np.testing.assert_allclose(skills.latents, [left, right], atol=1e-6)  # in the order of the names of types
    assert Skills.from_weights(skills.to_weights()).hypotheses.tolist() == skills.hypotheses.tolist()


def test_clusters_are_numbered_without_gaps() -> None:
    blobs = np.repeat([[0.0, 0.0], [5.0, 5.0]], 10, 0).astype(np.float32)
    blobs += np.random.default_rng(0).normal(0, 0.1, blobs.shape).astype(np.float32)
    labels = clusters_of(blobs, 2, seed=0)
    assert sorted({tuple(labels[:10]), tuple(labels[10:])}) == [(0,) * 10, (1,) * 10]
    assert set(clusters_of(np.ones((5, 2), np.float32), 3, seed=0)) == {0}
    assert clusters_of(blobs, 16, seed=0).tolist() == clusters_of(blobs, 16, seed=0).tolist()
