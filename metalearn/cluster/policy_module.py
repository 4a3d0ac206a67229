"""The conditioned policy as RLlib has policies: an `RLModule` whose observation says for which task it is to act.

What is known of a task (a latent) and what is believed of it (a hypothesis) stand beside each observation, so one
module acts in a batch of tasks. Does not know how it was trained.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from metalearn.adapter import Belief
from metalearn.baselines.rl_module import several_choices
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spaces import in_parts
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.choices import most_probable_choices
from metalearn.model.inference import Inference
from metalearn.model.policy import LOG_SIGMA_RANGE, ConditionalPolicy


class PolicyModule(TorchRLModule):  # type: ignore[misc]  # Ray has no types
    """pi(action | observation, latent, hypothesis). `model_config` holds `spec` and `model`, both as JSON.

    Its observations are dictionaries of `observation` (`[b, *o]`, or a dictionary or tuple of such parts), `latent`
    [b, d] and `hypothesis` [b]. Inference gives
    the action of `Inference.act` itself; exploration draws around it. Encoder and normaliser are part of it.
    """

    def setup(self) -> None:
        """Build the networks; RLlib calls this."""
        self.spec = Spec.from_json(self.model_config["spec"])
        config = ModelConfig.model_validate(self.model_config["model"])
        self.policy, self.units = ConditionalPolicy(config, self.spec), Units(self.spec, **dict(config.units))
        if self.spec.discrete and self.spec.actions.shape:
            self.action_dist_cls = several_choices(self.spec.action_choices)

    @property
    def inference(self) -> Inference:
        """The same policy behind numpy: `infer_belief` turns contexts into latents and hypotheses."""
        return Inference(self.policy, self.spec)

    def _forward(self, batch: Mapping[str, Any], **_: Any) -> dict[str, Tensor]:
        """Logits (counted from 0), or means and log standard deviations."""
        seen = batch[Columns.OBS]
        latent, given = seen["latent"].float(), in_parts(seen["observation"], self.spec.observation_space)
        observations = torch.cat([given[part.name].reshape(len(latent), -1).float() for part in self.spec.parts], 1)
        out = self.policy.outputs(self.policy.conditioning(latent, seen["hypothesis"].long()), observations)
        if not self.spec.discrete:
            # RLlib draws in the units of the environment.
            offsets, sizes = (torch.from_numpy(values).to(out) for values in (self.units.offsets, self.units.sizes))
            log_sigma = self.policy.log_sigma.clamp(*LOG_SIGMA_RANGE) + sizes.log()
            out = torch.cat([out * sizes + offsets, log_sigma.expand_as(out)], -1)
        return {Columns.ACTION_DIST_INPUTS: out}

    @torch.no_grad()
    def _forward_inference(self, batch: Mapping[str, Any], **_: Any) -> dict[str, Tensor]:
        inputs = self._forward(batch)[Columns.ACTION_DIST_INPUTS]
        space: Any = self.spec.action_space
        if self.spec.discrete:
            best = most_probable_choices(inputs, self.spec.action_choices)
            actions = best.reshape(-1, *self.spec.actions.shape) + torch.from_numpy(self.spec.actions.lowest)
        else:
            low, high = (torch.from_numpy(np.asarray(bound)).to(inputs) for bound in (space.low, space.high))
            actions = inputs[..., : self.spec.action_size].clamp(low, high)
        return {Columns.ACTIONS: actions, Columns.ACTION_DIST_INPUTS: inputs}


class Conditioned(gym.ObservationWrapper[Any, Any, Any]):
    """A task as `PolicyModule` sees it: each observation comes with the latent and hypothesis of an adaptation."""

    def __init__(self, env: gym.Env[Array, Any], belief: Belief, hypothesis: int) -> None:
        super().__init__(env)
        self._latent, self._hypothesis = belief.latent, hypothesis
        self.observation_space = conditioned(env.observation_space, belief)

    def observation(self, observation: Array) -> dict[str, Any]:
        """Add the latent and the hypothesis to an observation of the environment."""
        return {"observation": observation, "latent": self._latent, "hypothesis": self._hypothesis}


def conditioned(observation_space: gym.Space[Any], belief: Belief) -> gym.Space[Any]:
    """The space of what `PolicyModule` takes, with latents and hypotheses like those of `belief`."""
    latent = gym.spaces.Box(-np.inf, np.inf, belief.latent.shape, np.float32)
    hypothesis: gym.Space[Any] = gym.spaces.Discrete(belief.n_choices)
    return gym.spaces.Dict({"observation": observation_space, "latent": latent, "hypothesis": hypothesis})


def module_of(bundle: Bundle) -> PolicyModule:
    """The policy of a bundle.

    Raises:
        InvalidConfig: its weights do not fit its configuration, or its actions are of a shape that RLlib refuses.
    """
    if not bundle.spec.discrete and len(bundle.spec.actions.shape) != 1:
        raise InvalidConfig(f"bundle {bundle.name}: expected actions of one axis, got {bundle.spec.action_space}")
    try:
        inference = Inference.load(bundle)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidConfig(f"bundle {bundle.name}: its weights do not fit: {str(error).splitlines()[0]}") from error
    nothing_known = inference.infer_belief([Context()])[0]
    module = PolicyModule(
        observation_space=conditioned(bundle.spec.observation_space, nothing_known),
        action_space=bundle.spec.action_space,
        inference_only=True,
        model_config={"spec": bundle.spec.to_json(), "model": bundle.model},
    )
    module.policy.load_state_dict(inference.policy.state_dict())
    return module


def export_module(bundle: Bundle, folder: Path) -> Path:
    """Write the policy to `folder` as a checkpoint that `RLModule.from_checkpoint` reads where metalearn is installed.

    The format is RLlib's, pickles included: for RLlib to read, not for anything here.

    Raises:
        InvalidConfig: a folder that is not empty, or weights that do not fit.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidConfig(f"{folder} is not an empty folder: give another one")
    module_of(bundle).save_to_path(folder.absolute())
    return folder
