"""The baselines that travel inside a bundle beside its policy: training them, and reading them from there."""

from collections.abc import Callable, Sequence
from functools import partial

from pydantic import ValidationError

from metalearn.adapter import Adapter
from metalearn.baselines.bc import Bc, BcConfig, train_bc
from metalearn.baselines.mil import Mil, MilConfig, can_train_mil, train_mil
from metalearn.bundle import Bundle
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.model.inference import Inference

BASELINES = ("bc", "mil")
"""The baselines that `wtl train` puts beside the policy into its bundle, where what trains them is installed."""

Progress = Callable[[str, int, int], None]
"""Called with the method, the steps done and the steps in all."""


def usual_baselines() -> tuple[str, ...]:
    """The baselines that can be trained here: `mil` needs learn2learn, which is hard to install."""
    return tuple(name for name in BASELINES if name != "mil" or can_train_mil())


def methods_of(bundle: Bundle) -> dict[str, Adapter]:
    """Adapters by name, the policy (`wtl`) first.

    Raises:
        InvalidConfig: weights that do not fit their configuration, or a baseline that nobody knows.
    """
    try:
        methods: dict[str, Adapter] = {"wtl": Inference.load(bundle)}
        for name, weights in bundle.baselines.items():
            config = bundle.provenance["baselines"][name]["config"]
            if name == "bc":
                methods[name] = Bc.from_weights(weights, bundle.spec, BcConfig.model_validate(config))
            elif name == "mil":
                methods[name] = Mil.from_weights(weights, bundle.spec, MilConfig.model_validate(config))
            else:
                raise InvalidConfig(f"bundle {bundle.name}: unknown baseline {name!r}")
    except (KeyError, RuntimeError, TypeError, ValidationError) as error:
        sentence = str(error).splitlines()[0]
        raise InvalidConfig(
            f"bundle {bundle.name}: its weights and its configuration do not fit: {sentence}"
        ) from error
    return methods


def with_baselines(
    bundle: Bundle, dataset: Dataset, seed: int, progress: Progress, names: Sequence[str] = BASELINES
) -> Bundle:
    """The same bundle with baselines trained on what its policy was trained on.

    Without actions in the demonstrations there is nothing that `mil` could imitate, and no `mil`; without an expert
    there is none of them.
    """
    if not any(record.experts for record in dataset.tasks):
        return bundle
    if "bc" in names:
        cloned = BcConfig()
        weights = train_bc(dataset, cloned, seed, partial(progress, "bc"))
        bundle = bundle.with_baseline("bc", weights, {"config": cloned.model_dump(mode="json"), "seed": seed})
    shown = all(demo.actions is not None for record in dataset.tasks for demo in record.demos)
    if "mil" in names and shown:
        config = MilConfig()
        weights = train_mil(dataset, config, seed, partial(progress, "mil"))
        bundle = bundle.with_baseline("mil", weights, {"config": config.model_dump(mode="json"), "seed": seed})
    return bundle
