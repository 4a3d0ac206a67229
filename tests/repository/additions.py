"""Six small additions to a copy of the repository, as a contributor would make them: new files, and lines put into
files that are there. `docs/contributing/where.md` says which files each kind touches; `test_where.py` does them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Addition:
    """One addition.

    Attributes:
        heading: of the section of `where.md` that lists its files.
        at_most: files that it may touch.
        new: the text of each new file, by path.
        inserted: by path, anchors that are in the file once, and what follows each from then on.
        proof: a program that fails in a copy without the addition, and succeeds in one with it.
    """

    heading: str
    at_most: int
    proof: str
    new: Mapping[str, str] = field(default_factory=dict)
    inserted: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Every file that it touches."""
        return {*self.new, *self.inserted}

    def make(self, root: Path) -> None:
        """Make it in a copy of the repository."""
        for path, text in self.new.items():
            assert not (root / path).exists(), f"{path} is there already"
            (root / path).write_text(text)
        for path, insertions in self.inserted.items():
            content = (root / path).read_text()
            for anchor, text in insertions:
                assert content.count(anchor) == 1, f"{path} has {content.count(anchor)} places for {anchor!r}"
                content = content.replace(anchor, anchor + text)
            (root / path).write_text(content)


FAMILY = Addition(
    heading="A family of tasks",
    at_most=2,
    new={
        "metalearn/tasks/envs/line.py": '''"""A point on a line that has to reach one of two ends."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from metalearn.data.spec import Spec
from metalearn.tasks.family import Scene, TaskVectorEnv
from metalearn.tasks.single_row import SingleRowEnv


class Line:
    """Even tasks want the left end, odd ones the right."""

    name, version = "line", 1
    spec = Spec(spaces.Box(-2, 2, (1,), np.float32), spaces.Box(-1, 1, (1,), np.float32), 8, rate_hz=1.0)
    splits = {"train": range(100), "validation": range(100, 200), "test": range(200, 300)}

    def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
        return LineVectorEnv(self.spec, indices)

    def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
        return SingleRowEnv(self, index, scene, render_mode)


class LineVectorEnv(TaskVectorEnv):
    def __init__(self, spec: Spec, indices: Sequence[int]) -> None:
        super().__init__(spec, len(indices))
        self._side = np.where(np.array(indices) % 2, 1.0, -1.0)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._x, self._steps = np.zeros(self.num_envs), 0
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._x = np.clip(self._x + 0.4 * actions[:, 0], -2, 2)
        self._steps += 1
        ended = np.abs(self._x) >= 1
        success = ended & (np.sign(self._x) == self._side)
        truncated = ~ended & (self._steps >= 8)
        return self._observe(), success.astype(np.float32), ended, truncated, {"success": success}

    def expert_actions(self) -> Any:
        return self._side[:, None].astype(np.float32)

    def _observe(self) -> Any:
        return self._x[:, None].astype(np.float32)
''',
    },
    inserted={"metalearn/tasks/registry.py": [("FAMILIES = {\n", '    "line": "metalearn.tasks.envs.line:Line",\n')]},
    proof="""
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
family = find_family("line")
demo = demonstrate(family, [7], [0], "demo").episodes[0]
assert demo.success and len(demo) == 3, demo
family.spec.check(demo)
""",
)

ASK = Addition(
    heading="A kind of ask",
    at_most=2,
    new={
        "metalearn/data/asks/speed.py": '''"""How fast an attempt should be. In hindsight: the size of its actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearn.data.asks.kind import AskKind, AskOffer, Hindsight
from metalearn.data.asks.numbers import number
from metalearn.data.errors import InvalidData


@dataclass(frozen=True)
class Speed(AskKind):
    """The mean size of an action, above 0."""

    name = "speed"
    of_outcome = True
    needs = "episodes with actions"
    typed = "speed=3"

    value: float

    def to_json(self) -> float:
        return self.value

    @classmethod
    def from_json(cls, value: Any) -> "Speed":
        found = number("ask.speed", value)
        if found <= 0:
            raise InvalidData("ask.speed", "a number above 0", f"{found:g}")
        return cls(found)

    @classmethod
    def in_hindsight(cls, known: Hindsight, rng: np.random.Generator) -> "Speed | None":
        actions = known.episode.actions
        return None if actions is None else cls(float(np.abs(actions).mean()) + 1e-6)

    @classmethod
    def offer(cls, labels: Sequence[AskKind], encoder: str = "") -> AskOffer:
        values = np.array([label.to_json() for label in labels])
        return AskOffer.fitted(cls.name, values[:, None], examples=(float(values.max()),))

    @classmethod
    def size(cls, offer: AskOffer) -> int:
        return 1

    @classmethod
    def accepted(cls, offer: AskOffer) -> str:
        return "a number above 0"

    def check(self, offer: AskOffer) -> None:
        """Any can be asked for."""

    def features(self, offer: AskOffer) -> Any:
        return offer.scaled([self.value])
''',
    },
    inserted={
        "metalearn/data/asks/__init__.py": [
            ("from metalearn.data.asks.returns import Return\n", "from metalearn.data.asks.speed import Speed\n"),
            ("KINDS: tuple[type[AskKind], ...] = (", "Speed, "),
        ]
    },
    proof="""
import dataclasses, io, json, tempfile, zipfile
from pathlib import Path
from fastapi.testclient import TestClient
import numpy as np
import support.pointing as pointing
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.model.export import with_graphs
from metalearn.training.calibrate import calibrate
from metalearn.training.loop import train
from service.app import create_app
from service.client import Client
from service.inference import OnnxRuntime, TorchRuntime
from wtl.cli.asks import asked
folder = Path(tempfile.mkdtemp())
small = TrainingConfig(warmup_steps=4, rounds=1, round_steps=2, batch_tasks=8, anneal_steps=2)
config = ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, asks=("speed",))
experiment = Experiment(
    name="small", family="reach-m2", data=DataConfig(n_tasks=16), model=config, training=small
)
trained = with_graphs(train(experiment, folder / "run"))
[offer] = trained.asks
assert offer.kind == "speed" and offer.low[0] < offer.high[0], "it is learnt from what episodes were"
contexts = [Context(ask=Ask.from_json(ask)) for ask in ({}, {"speed": offer.low[0]}, {"speed": offer.high[0]})]
beliefs = [one.load(trained).infer_belief(contexts) for one in (TorchRuntime, OnnxRuntime)]
for expected, got in zip(*beliefs):
    np.testing.assert_allclose(got.latent, expected.latent, atol=1e-4)
assert not np.array_equal(beliefs[0][1].latent, beliefs[0][2].latent), "the network reads it"
assert calibrate(trained, n_tasks=8, steps=2).provenance["confidence"]["asks"] == ["speed"]
assert asked(["speed=3"]) == {"speed": 3.0}
settings = pointing.settings_in(folder)
model = {"asks": ["speed"], "ask_offers": [dataclasses.asdict(offer)]}
dataclasses.replace(pointing.bundle("asked"), model=model).save(settings.models / "asked")
assert "| `speed` | a number above 0 |" in (settings.models / "asked" / "README.md").read_text()
with TestClient(create_app(settings, runtime_factory=pointing.PointingRuntime)) as http:
    def adapt(model, ask):
        return http.post("/v1/adaptations", json={"model": model, "demos": [], "ask": ask})
    assert http.get("/v1/models/asked").json()["asks"][0]["accepts"] == "a number above 0"
    assert adapt("point", {"speed": 3}).status_code == 422, "a model that was not trained for it refuses it"
    assert adapt("asked", {"speed": 0}).json()["field"] == "ask.speed"
    made = adapt("asked", {"speed": 3})
    assert made.status_code == 201, made.text
    at = made.headers["location"]
    trial = {"observations": [[0, 0, 0], [1, 0, 0]], "success": False}
    assert http.post(at + "/trials", json={"trials": [trial]}).json()["ask"] == {"speed": 3.0}
    assert http.post(at + "/ask", json={"ask": {"speed": 4}}).json()["ask"] == {"speed": 4.0}
    fork = http.post(at + "/fork", json={"version": 1})
    assert fork.json()["ask"] == {"speed": 3.0}
    assert [v["ask"]["speed"] for v in http.get(at + "/versions").json()["items"]] == [3.0, 3.0, 4.0]
    archive = zipfile.ZipFile(io.BytesIO(http.get(at + "/export?policy=false").content))
    assert json.loads(archive.read("manifest.json"))["ask"] == {"speed": 4.0}
    state = Client(http=http).adaptation(made.json()["id"])
    assert state.ask == {"speed": 4.0}
    assert state.export(policy=False).context.ask.to_json() == {"speed": 4.0}
with TestClient(create_app(settings, runtime_factory=pointing.PointingRuntime)) as http:
    assert http.get(fork.headers["location"]).json()["ask"] == {"speed": 3.0}, "it survives a restart"
""",
)

ENCODER = Addition(
    heading="An observation encoder",
    at_most=2,
    new={
        "metalearn/model/observations/bounded.py": '''"""Numbers with bounds, which say what is large."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from metalearn.data.spaces import Part
from metalearn.model.observations.vectors import VectorEncoder


class BoundedVectorEncoder(VectorEncoder):
    """Nothing of it is fitted to data."""

    def __init__(self, part: Part, fourier: tuple[float, ...]) -> None:
        super().__init__(part.size, fourier)
        low, high = (torch.as_tensor(bound).flatten().float() for bound in (part.space.low, part.space.high))
        self.scale_by((low + high) / 2, (high - low) / 2)

    def fit(self, observations: Float[Tensor, "n o"], episodes: Int[Tensor, " n"] | None = None) -> None:
        """Do nothing."""
''',
    },
    inserted={
        "metalearn/model/observations/__init__.py": [
            (
                "from metalearn.model.observations.base import ObservationEncoder\n",
                "from metalearn.model.observations.bounded import BoundedVectorEncoder\n",
            ),
            (
                """                return CategoryEncoder(*choices(part.space))
            case "vector\"""",
                """ if part.space.is_bounded():
                return BoundedVectorEncoder(part, config.fourier)
            case "vector\"""",
            ),
        ],
    },
    proof="""
import numpy as np, torch
from gymnasium import spaces
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.inference import Inference
from metalearn.model.observations.bounded import BoundedVectorEncoder
from metalearn.model.policy import ConditionalPolicy
from service.inference.onnx_runtime import OnnxRuntime
arm, mode = spaces.Box(-4, 4, (3,), np.float32), spaces.Discrete(2)
spec = Spec(spaces.Dict(arm=arm, mode=mode), spaces.Box(-1, 1, (2,), np.float32), 8, rate_hz=1.0)
config, rng = ModelConfig(), np.random.default_rng(0)
policy = ConditionalPolicy(config, spec)
assert isinstance(policy.observations.parts[0], BoundedVectorEncoder)
policy.observations.fit(torch.zeros(5, 4))
bundle = with_graphs(Bundle("bounded", spec, config.model_dump(mode="json"), policy.to_weights()))
context = Context((spec.example_episode(rng, 5),), (spec.example_episode(rng, 4),))
observation = context.demos[0].observations[:1]
actions = []
for runtime in (Inference.load(bundle), OnnxRuntime.load(bundle)):
    (belief,) = runtime.infer_belief([context])
    actions.append(belief.latent)
np.testing.assert_allclose(*actions, atol=1e-4)
""",
)

SETTING = Addition(
    heading="A setting",
    at_most=1,
    inserted={
        "metalearn/config.py": [
            (
                'class TrainingConfig(Section):\n    """The meta-training loop (`metalearn.training.loop`)."""\n',
                '\n    clip_norm: float | None = Field(None, gt=0, description="norm of a gradient; null: any")\n',
            )
        ],
    },
    proof="""
from metalearn.experiments import find_experiment
from metalearn.settings import InvalidSetting, parse, with_settings
assert with_settings(find_experiment("reach-m2"), parse(["training.clip_norm=2"])).training.clip_norm == 2
try:
    with_settings(find_experiment("reach-m2"), parse(["training.clip_norm=0"]))
except InvalidSetting as error:
    assert "training.clip_norm: expected a number or null, more than 0, got 0" in str(error)
from wtl.cli import main
assert main(["settings", "clip_norm"]) == 0
assert main(["settings", "unheard-of"]) == 2
""",
)

FORMAT = Addition(
    heading="A dataset format",
    at_most=2,
    new={
        "metalearn/data/formats/csv_files.py": '''"""Comma-separated values: a line per observation, no actions."""

import numpy as np

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats.selection import Recorded, Selection


def read_csv(path: str, selection: Selection) -> Recorded:
    """The one episode of a file. Raises InvalidData, OSError."""
    try:
        observations = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise InvalidData(path, "lines of numbers with commas between them", str(error)) from error
    selection.pick(1)
    return Recorded.of([Episode.of(observations)])
''',
    },
    inserted={
        "metalearn/data/formats/table.py": [
            (
                "from metalearn.data.errors import InvalidConfig, InvalidData\n",
                "from metalearn.data.formats.csv_files import read_csv\n",
            ),
            (
                "    for entry in (\n",
                '        DatasetFormat("csv", "lines of observations", "FILE", read=read_csv, suffixes=(".csv",)),\n',
            ),
        ]
    },
    proof="""
import subprocess, sys
from pathlib import Path
from metalearn.data.formats import read_episodes
Path("walk.csv").write_text("0,0,0\\n1,0,0\\n1,1,0\\n")
for source in ("walk.csv", "csv:walk.csv"):
    command = [sys.executable, "-m", "wtl.cli", "convert", "walk.npz", "--from", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_episodes("walk.npz").episodes[0].observations.shape == (3, 3)
listed = subprocess.run([sys.executable, "-m", "wtl.cli", "formats"], capture_output=True, text=True).stdout
assert "csv" in listed
""",
)

ROUTE = Addition(
    heading="A REST route",
    at_most=4,
    new={
        "service/api/routes/lengths.py": '''"""How long the episodes of an adaptation are."""

from fastapi import APIRouter, Response

from service.api.dependencies import AdaptationId, ContainerDep, RequestBodyDep
from service.api.openapi import PROBLEMS
from service.api.schemas.adaptations import Body
from service.api.scopes import requires

router = APIRouter(
    prefix="/v1/adaptations", tags=["adaptations"], responses=PROBLEMS, dependencies=[requires("adapt")]
)


class Lengths(Body):
    """Steps of each episode."""

    demos: list[int]
    trials: list[int]


@router.get("/{adaptation_id}/lengths", response_model=Lengths)
def read(request: RequestBodyDep, container: ContainerDep, adaptation_id: AdaptationId) -> Response:
    """The lengths of the episodes that an adaptation has seen."""
    adaptation = container.adaptations.read(request.tenant, adaptation_id)
    context = container.repository.context(adaptation.id, adaptation.version)
    return request.answer(Lengths(demos=[len(e) for e in context.demos], trials=[len(e) for e in context.trials]))
''',
    },
    inserted={
        "service/app.py": [
            ("from service.api.scopes import public_paths\n", "from service.api.routes import lengths\n"),
            ("_ROUTERS = (\n", "    lengths.router,\n"),
        ],
    },
    proof="""
import tempfile
from pathlib import Path
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in
from service.app import create_app
app = create_app(settings_in(Path(tempfile.mkdtemp())), runtime_factory=PointingRuntime)
with TestClient(app) as http:
    demo = {"observations": [[0, 0, 0], [1, 0, 0], [1, 1, 0]]}
    made = http.post("/v1/adaptations", json={"model": "point", "demos": [demo]})
    assert http.get(made.headers["location"] + "/lengths").json() == {"demos": [2], "trials": []}
    operation = http.get("/openapi.json").json()["paths"]["/v1/adaptations/{adaptation_id}/lengths"]["get"]
    assert operation["security"][0] == {"key": ["adapt"]}
""",
)

RULE = Addition(
    heading="A rule of wtl inspect",
    at_most=1,
    inserted={
        "metalearn/inspection/findings.py": [
            (
                '    """Too few tasks, tasks that do not differ, and splits that overlap."""\n',
                """    if report.sizes["test"] < 10:
        yield doubtful("few-test-tasks", f"there are {report.sizes['test']} test tasks: intervals will be wide")
""",
            )
        ],
    },
    proof="""
from metalearn.inspection.findings import of_tasks
from metalearn.inspection.tasks import TasksReport
report = TasksReport({"train": 1000, "validation": 9, "test": 9}, (), 8, 8, None, True, False, ())
assert [finding.code for finding in of_tasks(report)] == ["few-test-tasks"]
""",
)

ADDITIONS = (FAMILY, ASK, ENCODER, SETTING, FORMAT, RULE, ROUTE)
