"""The OpenAPI document is good enough that a client generated from it works, and none of ours is involved."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from support.pointing import PointingRuntime, settings_in
from support.serving import served

from service.api.schemas import adaptations as schemas
from service.api.schemas import datasets, recognitions
from service.api.schemas import models as cards
from service.api.schemas import training_jobs as jobs
from service.app import create_app

NAME = "generated_wtl"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(settings_in(tmp_path_factory.mktemp("service")), runtime_factory=PointingRuntime)


@pytest.fixture(scope="module")
def generated(app: FastAPI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(app.openapi()))
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = ["generate", "--path", "openapi.json", "--config", "config.yaml", "--meta", "none", "--output-path", NAME]
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in done.stdout.splitlines() if "nable to" in line or "ERROR" in line]
    assert not said, done.stdout
    sys.path.insert(0, str(folder))
    yield importlib.import_module(NAME)
    sys.path.remove(str(folder))


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


def test_every_operation_has_a_function_with_a_readable_name(app: FastAPI, generated: ModuleType) -> None:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            name = operation["operationId"]
            assert name.replace("_", "").isalpha(), (method, path, name)
            assert hasattr(
                part(f"api.{operation['tags'][0].replace(' ', '_').replace('-', '_')}.{name}"), "sync_detailed"
            )


def test_it_adapts_acts_records_an_episode_and_reads_a_problem(app: FastAPI, generated: ModuleType) -> None:
    models, adaptations, episodes = part("models"), "api.adaptations.adaptations_", "api.episodes.episodes_"
    with served(app) as url, generated.Client(base_url=url) as client:
        card = part("api.models.models_read").sync(name="point", client=client)
        demo = models.EpisodeBody(observations=[[0, 0, 0], [1, 0, 0], [1, 1, 0]], success=True)
        body = models.AdaptationRequest(model=card.name, demos=[demo, card.example])
        made = part(f"{adaptations}create").sync(client=client, body=body, idempotency_key="one")
        assert (made.version, made.n_demos, len(made.quality)) == (1, 2, 2)
        assert (made.belief.probabilities, made.belief.entropy_bits) == ([0.6, 0.4], 0.971)
        assert part(f"{adaptations}create").sync(client=client, body=body, idempotency_key="one").id == made.id
        wanted = {"adaptation_id": made.id, "client": client}
        seen = models.ActRequest(observations=[[0, 0, 0], [1, 0, 0]])
        answer = part(f"{adaptations}act").sync(**wanted, body=seen)
        assert (len(answer.actions), len(answer.actions[0])) == (2, 2)

        episode = part(f"{episodes}start").sync(**wanted, body=models.EpisodeRequest(explore=False))
        step = models.StepRequest(observation=[0, 0, 0])
        action = part(f"{episodes}act").sync(**wanted, episode_id=episode.id, body=step)
        assert (action.step, len(action.action)) == (0, 2)
        last = models.FinishRequest(observation=[1, 1, 0], reward=1.0, success=True)
        after = part(f"{episodes}finish").sync(**wanted, episode_id=episode.id, body=last)
        assert (after.version, after.n_trials) == (2, 1)

        problem = part(f"{adaptations}read").sync(adaptation_id="nonsense", client=client)
        assert isinstance(problem, models.Problem)
        assert (problem.status, problem.type_) == (404, "urn:problem-type:wtl:adaptation-not-found")


def test_examples_of_bodies_are_bodies(app: FastAPI) -> None:
    checked = 0
    for item in app.openapi()["paths"].values():
        for operation in item.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                name = content["schema"]["$ref"].rpartition("/")[2]
                schema: type[BaseModel] = next(
                    getattr(one, name) for one in (cards, datasets, jobs, recognitions, schemas) if hasattr(one, name)
                )
                schema.model_validate(content["example"])
                checked += 1
    assert checked == 15
