"""The conditional policy: context to belief over hypotheses, observation and hypothesis to action.

Pure torch. Does not know how it is trained, nor environments.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from metalearn.config import ModelConfig
from metalearn.data.asks import sizes_of
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.asks import AskReader
from metalearn.model.choices import log_likelihood_of_choices, most_probable_choices
from metalearn.model.dynamics import Dynamics
from metalearn.model.encoder import ABOUT, ContextEncoder, EpisodeTensors
from metalearn.model.memory import EpisodeMemory
from metalearn.model.observations import ObservationEncoder, make_observation_encoder
from metalearn.model.search import Search

LOG_SIGMA_RANGE = (-3.0, 1.0)
OUTLIER = 3.0
"""Deviations from which on an error counts by its size, and not by its square (P. J. Huber, "Robust estimation of a
location parameter", 1964): what is far off in states that are new must not drown what is nearly right elsewhere."""
MEMORY_WEIGHTS = ("memory.", "evidence.")
"""What the names of weights begin with that a policy without a memory within an episode does not have."""
RECOGNISED = 0.5  # how probably a trial is the policy's own, for it to be counted
ELSEWHERE = 3.0  # deviations that every action of somebody else is off
NEVER = -1e4  # the logarithm of a probability
STUBBORNNESS = 2.3  # the logarithm of how much likelier another hypothesis must have become to be acted on instead


@dataclass(frozen=True, eq=False)
class _Modulation:
    """How layers are modulated and observations are gated, and what is looked for among entities."""

    film: tuple[Float[Tensor, "b z 1 _w"], ...]
    queries: Float[Tensor, "b z h c"] | None


class ConditionalPolicy(nn.Module):
    """pi(action | observation, hypothesis z, context), and p(z | context).

    Two hidden layers, modulated (FiLM, Perez et al. 2018) by the latent and an embedding of z, which also gate
    the observation, since a task is often a matter of which part of it counts. A Gaussian with one learned
    sigma per action component (or one read from the context), or a categorical for each choice of discrete
    actions. Where tasks differ in what an action does, the network says how the observation is to change, and
    `Dynamics` which action does that.

    A latent `[d]` is what the encoder makes of a context and of what is asked for, then the keys of the entities
    that the context was about (if observations list entities), then the sums that tell the effect of actions (if
    that differs).

    Raises:
        InvalidConfig: dynamics to be estimated for discrete actions, a memory for one hypothesis, or for a search.
    """

    def __init__(self, config: ModelConfig, spec: Spec) -> None:
        super().__init__()
        self.config = config
        self.discrete, self._choices = spec.discrete, spec.action_choices
        o, a, width = spec.observation_size, spec.action_size, config.policy_width
        observations, d = make_observation_encoder(spec, config), config.latent_dim
        self.encoder = ContextEncoder(config, observations, a)
        sizes = sizes_of(config.ask_offers)
        self.asked = AskReader(sizes, d, config.encoder_width) if sizes else None
        self.prior = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, config.n_hypotheses))
        self.hypotheses = nn.Embedding(config.n_hypotheses, 32)
        self.completion = nn.Sequential(nn.Linear(d + 32, width), nn.ReLU(), nn.Linear(width, d))
        plain, found = observations.plain_size, observations.found_size
        if observations.memory_shape:
            n_heads, key_size = observations.memory_shape
            n_queries = n_heads * (ABOUT * n_heads + key_size)
            self.steering = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, n_queries))
        self._film_sizes = [width] * 4 + [plain]
        self.modulation = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, sum(self._film_sizes)))
        self.first = nn.Linear(2 * plain + found, width)
        self.second = nn.Linear(width, width)
        self.dynamics = Dynamics(config.dynamics_rank, o, a) if config.dynamics_rank else None
        if self.discrete and self.dynamics:
            raise InvalidConfig("dynamics_rank: expected 0 where actions are discrete")
        out = o if self.dynamics else a
        self.head = nn.Linear(width, out)
        self.memory = None
        if config.memory:
            if config.n_hypotheses == 1:
                raise InvalidConfig("memory: expected 0 where there is one hypothesis, of which nothing can be told")
            self.memory = EpisodeMemory(
                config.memory,
                observations,
                torch.from_numpy(beside_pictures(spec.parts)),
                pictures=bool(spec.pictures),
                action_size=a,
            )
            self.evidence = nn.Sequential(
                nn.Linear(d + self.memory.n_sums, width), nn.ReLU(), nn.Linear(width, config.n_hypotheses)
            )
        self.search = None
        if config.search:
            if self.n_sums:
                raise InvalidConfig("search: expected 0 where an episode is remembered while it lasts")
            n_heads, key_size = observations.memory_shape or (0, 0)
            self.search = Search(config.search, config.n_hypotheses, d + ABOUT * n_heads * key_size)
            self._keep_bounds(spec)
        self.log_sigma = nn.Parameter(torch.full((a,), -0.5))
        self.spread = nn.Linear(d, a) if config.context_sigma and not self.discrete else None
        if self.spread is not None:
            nn.init.zeros_(self.spread.weight)
            nn.init.zeros_(self.spread.bias)

    def _keep_bounds(self, spec: Spec) -> None:
        """Remember the bounds of continuous actions in their units."""
        bounds = None
        if not self.discrete:
            bounds = torch.from_numpy(np.stack(Units(spec, **dict(self.config.units)).bounds)).float()
        self.register_buffer("bounds", bounds, persistent=False)

    def infer_belief(
        self, demos: EpisodeTensors, trials: EpisodeTensors, asks: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b z"]]:
        """The latent of each context, and log p(z | context)."""
        latent = self.encoder(demos, trials)
        if self.asked is not None:
            read, keys = latent.tensor_split([self.config.latent_dim], -1)
            latent = torch.cat([self.asked(read, asks), keys], -1)
        log_prior = self.log_prior(latent)
        if self.memory is None:
            return torch.cat([latent, trials.summed_effects], -1), log_prior
        nothing_yet = torch.zeros_like(latent[:, :1]).expand(-1, self.memory.n_sums)  # a graph has any number of rows
        return torch.cat([latent, nothing_yet, trials.summed_effects], -1), log_prior

    def log_prior(self, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b z"]:
        """log p(z | context), of its latent."""
        log_prior: Tensor = self.prior(latent[:, : self.config.latent_dim]).log_softmax(-1)
        return log_prior

    def completed(self, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b z l"]:
        """What is acted on under each hypothesis: the latent of the context without its sums, as if more were known."""
        known = latent[:, None, : self.config.latent_dim].expand(-1, self.config.n_hypotheses, -1)
        return self._completed(known, self.hypotheses.weight.expand(len(latent), -1, -1))

    def plan(
        self, demos: EpisodeTensors, trials: EpisodeTensors, asks: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b z"], Float[Tensor, "b y"], Float[Tensor, "b y"]]:
        """Of a policy that searches: latent, p(z | context), and what `Search` says of each behaviour.

        The latent is that of the context before any trial, for which behaviours are remembered. Where a trial cannot
        be counted, as it is somebody else's, or nobody knows its actions or how it went, it is that of the whole
        context, and all else is zeros.
        """
        assert self.search is not None
        latent, log_prior = self.infer_belief(demos, trials, asks)
        before, expected = self.infer_belief(demos, trials.left_out, asks)
        shown = demos.mask.any(1, keepdim=True).to(latent.dtype)
        there, outcome, under = trials.mask.to(latent.dtype), trials.success, self.acted_under(before, shown, trials)
        uncounted = there * (under.sum(-1) * outcome.abs() < RECOGNISED).to(latent.dtype)
        counted = (uncounted.sum(1, keepdim=True) == 0).to(latent.dtype)
        failed, succeeded = ((under * (sign * outcome).clamp(min=0)[..., None]).sum(1) for sign in (-1, 1))
        success, worth = self.search(expected.exp(), shown, failed, succeeded)
        return torch.where(counted > 0, before, latent), log_prior.exp(), success * counted, worth * counted

    def acted_under(
        self, latent: Float[Tensor, "b d"], shown: Float[Tensor, "b 1"], episodes: EpisodeTensors
    ) -> Float[Tensor, "b k y"]:
        """How probably each episode was acted under each behaviour of a search; zeros of unknown actions.

        All are as probable before, and so is somebody else, whose actions are all `ELSEWHERE` deviations off, or drawn.
        Of the frames all count but the last, after which nothing is done.
        """
        assert self.search is not None
        seen, done = episodes.observations[:, :, :-1].flatten(1, 2), episodes.actions[:, :, :-1].flatten(1, 2)
        actions = most_probable_choices(done, self._choices) if self.discrete else done
        n_steps, ends = self.config.n_frames - 1, episodes.times[:, :, -1:]
        # In short episodes the end is seen in several frames.
        before_end = (episodes.times[:, :, :-1] < ends).to(latent.dtype).flatten(1)[:, None]
        nobody = self._of_nobody * torch.ones_like(before_end)
        within = None if self.discrete else self.get_buffer("bounds")
        nothing_shown = self.search.get_buffer("nothing_shown").expand_as(latent)
        as_shown, otherwise = (
            self._step_likelihood(of, seen, actions, seen[..., :0], within=within) for of in (latent, nothing_shown)
        )
        as_shown = as_shown + (1 - shown[..., None]) * NEVER
        steps = torch.cat([as_shown, otherwise, nobody], 1) * before_end
        everybody = n_steps * functional.avg_pool1d(steps, n_steps)  # a reshape would keep sizes in a graph
        known = (episodes.mask * episodes.has_actions)[..., None]
        under: Tensor = everybody.softmax(1).transpose(-1, -2)[..., :-1] * known
        return under

    @property
    def _of_nobody(self) -> float:
        """The log-likelihood of a step whose actions are not of this policy."""
        if self.discrete:
            return -sum(math.log(n) for n in self._choices)
        return float((-0.5 * ELSEWHERE**2 - self.log_sigma.detach().clamp(*LOG_SIGMA_RANGE)).sum())

    def conditioning(self, latent: Float[Tensor, "b d"], hypothesis: Int[Tensor, " b"]) -> Float[Tensor, "b c"]:
        """All that acting takes of latents under hypotheses, once for an episode: most of what an action costs.

        The sums that tell the effect of actions come last; they alone may change within an episode.
        """
        latent, hypothesis = self._behaviour(latent, hypothesis)
        if self.memory is not None:
            # An episode may change its mind: which hypothesis is acted on is known only when it is acted on.
            known, sums = latent.split([latent.shape[-1] - self.n_sums, self.n_sums], -1)
            return torch.cat([known, self._standing(latent, hypothesis), sums], -1)
        return self._conditioning(latent, hypothesis)

    def _standing(self, latent: Float[Tensor, "b d"], hypothesis: Int[Tensor, " b"]) -> Float[Tensor, "b z"]:
        """How likely each hypothesis is before an episode tells anything, as a logarithm beside the likeliest one.

        The one that is chosen, even if it was drawn, counts as the likeliest, and as likelier than that by
        `STUBBORNNESS`.
        """
        log_prior = self.log_prior(latent)
        chosen = functional.one_hot(hypothesis, self.config.n_hypotheses).to(latent.dtype)
        return (1 - chosen) * (log_prior - log_prior.amax(-1, keepdim=True)) + STUBBORNNESS * chosen

    def _behaviour(
        self, latent: Float[Tensor, "b d"], hypothesis: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]:
        """What a policy that searches acts on: from z on the hypotheses are those of nothing shown, counted again."""
        if self.search is None:
            return latent, hypothesis
        n = self.config.n_hypotheses
        return torch.where((hypothesis >= n)[:, None], self.search.get_buffer("nothing_shown"), latent), hypothesis % n

    def _conditioning(self, latent: Float[Tensor, "b d"], hypothesis: Int[Tensor, " b"]) -> Float[Tensor, "b c"]:
        modulation = self._modulation(latent[:, None], self.hypotheses(hypothesis)[:, None])
        parts = [*modulation.film] if modulation.queries is None else [*modulation.film, modulation.queries]
        return torch.cat([*(part.flatten(1) for part in parts), latent[:, latent.shape[-1] - self.n_sums :]], -1)

    def act(self, conditioning: Float[Tensor, "b c"], observations: Float[Tensor, "b o"]) -> Shaped[Tensor, "b *a"]:
        """The most probable action `[b, a]` in its units; `[b]` of one choice, or `[b, k]` of k at once."""
        out = self.outputs(conditioning, observations)
        return most_probable_choices(out, self._choices) if self.discrete else out

    def outputs(self, conditioning: Float[Tensor, "b c"], observations: Float[Tensor, "b o"]) -> Float[Tensor, "b a"]:
        """The mean action, or the logits of discrete ones."""
        if self.memory is not None:
            n, z = conditioning.shape[-1], self.config.n_hypotheses
            known, standing, sums = conditioning.split([n - z - self.n_sums, z, self.n_sums], -1)
            latent = torch.cat([known, sums], -1)
            likeliest = (standing + self._evidence(latent, sums)).argmax(-1)
            conditioning = self._conditioning(latent, likeliest)
        n_film = sum(self._film_sizes)
        if self.observations.memory_shape is None and self.dynamics is None:
            # Nothing but the layers: without the axes of z and t an exported graph takes half the time.
            film = (conditioning[:, :n_film] if self.n_sums else conditioning).split(self._film_sizes, -1)
            return self._layers(film, self.observations.look(observations, None)[0], [])
        end = conditioning.shape[-1] - self.n_sums
        queries = None
        if self.observations.memory_shape is not None:
            queries = conditioning[:, None, n_film:end].unflatten(-1, self.observations.memory_shape)
        modulation = _Modulation(conditioning[:, None, None, :n_film].split(self._film_sizes, -1), queries)
        return self._out(modulation, conditioning[:, None, end:], observations[:, None, None])[:, 0, 0]

    def heads(
        self,
        latent: Float[Tensor, "m d"],
        hypothesis: Int[Tensor, " m"],
        observations: Float[Tensor, "t o"],
        sums: Float[Tensor, "t s"],
    ) -> tuple[Float[Tensor, "m t a"], Float[Tensor, "m _k"]]:
        """The action distributions of m policies, each a latent under a hypothesis, at the same t observations.

        The means or logits, and the logarithm of the deviation of each component (which says nothing of choices).
        `sums` are those over the steps of the same episode that went before (`remember`).
        """
        latent, hypothesis = self._behaviour(latent, hypothesis)
        latents, embedded = latent[None], self.hypotheses(hypothesis)[None]
        log_sigma = self._log_sigma(latents, embedded)[0]
        if self.n_sums == 0:  # what is seen is read once, and not once for each policy
            modulation = self._modulation(latents, embedded)
            return self._out(modulation, sums[None], observations[None, None])[0], log_sigma
        m, t = latent.shape[0], observations.shape[0]  # not len, which a graph would keep as it is
        known, own = latent.split([latent.shape[-1] - self.n_sums, self.n_sums], -1)
        tried = own[:, None] + sums
        rows = torch.cat([known[:, None].expand(-1, t, -1), tried], -1).flatten(0, 1)
        conditioning = self.conditioning(rows, hypothesis[:, None].expand(-1, t).flatten())
        seen = observations[None].expand(m, -1, -1).flatten(0, 1)
        return self.outputs(conditioning, seen).view(m, t, -1), log_sigma

    @property
    def observations(self) -> ObservationEncoder:
        """What reads observations."""
        return self.encoder.observations

    @property
    def n_sums(self) -> int:
        """Numbers at the end of a latent, and of a conditioning, that tell the effect of actions."""
        return sum(part.n_sums for part in (self.memory, self.dynamics) if part)

    def log_likelihood(
        self,
        latent: Float[Tensor, "b d"],
        observations: Float[Tensor, "b t o"],
        actions: Shaped[Tensor, "b t *a"],
        mask: Float[Tensor, "b t"],
        effects: Float[Tensor, "b t s"],
        hypothesis: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b z"]:
        """log p(actions | observations, z, context), summed over the steps of the mask, for every z.

        `effects` are the sums for `dynamics` over the steps of the same episode that went before. With `hypothesis` it
        is for this one of each row alone, `[b, 1]`.
        """
        return (self._step_likelihood(latent, observations, actions, effects, hypothesis) * mask[:, None]).sum(-1)

    def _step_likelihood(
        self,
        latent: Float[Tensor, "b d"],
        observations: Float[Tensor, "b t o"],
        actions: Shaped[Tensor, "b t *a"],
        effects: Float[Tensor, "b t s"],
        hypothesis: Int[Tensor, " b"] | None = None,
        *,
        within: Float[Tensor, "2 a"] | None = None,
    ) -> Float[Tensor, "b z t"]:
        """log p(action | observation, z, context) at each step, for every z or one of each row, but for a constant.

        Of continuous actions it is Gaussian, and exponential from `OUTLIER` deviations on; but Gaussian everywhere with
        `within`, the bounds that means are moved into, as they are where somebody acts.
        """
        if hypothesis is None:
            embedded = self.hypotheses.weight.expand(latent.shape[0], -1, -1)  # not len, which a graph would keep
        else:
            embedded = self.hypotheses(hypothesis)[:, None]
        z = embedded.shape[1]
        tried = latent[:, None, latent.shape[-1] - effects.shape[-1] :] + effects
        out = self._out(self._modulation(latent[:, None].expand(-1, z, -1), embedded), tried, observations[:, None])
        if self.discrete:
            chosen = actions[:, None].expand(-1, z, *actions.shape[1:])
            return log_likelihood_of_choices(out, chosen, self._choices)
        if within is not None:
            out = out.maximum(within[0]).minimum(within[1])
        log_sigma = self._log_sigma(latent[:, None].expand(-1, z, -1), embedded)[:, :, None]
        error = (actions[:, None] - out) / log_sigma.exp()
        near = error if within is not None else error.clamp(-OUTLIER, OUTLIER)
        return (near * (0.5 * near - error) - log_sigma).sum(-1)

    @property
    def steepness(self) -> Float[Tensor, ""]:
        """The size of the gradient of a step's log-likelihood in a mean action that is one deviation off; 1 of choices.

        Whatever is learnt beside the likelihood, in weights that both share, is heard if it counts in this unit.
        """
        if self.discrete:
            return torch.ones(())
        return self.log_sigma.detach().clamp(*LOG_SIGMA_RANGE).neg().exp().norm()

    def _log_sigma(self, latent: Float[Tensor, "b z d"], embedded: Float[Tensor, "b z e"]) -> Float[Tensor, "b z _a"]:
        """The logarithm of the standard deviation of actions: one for all contexts, or one for each."""
        log_sigma: Tensor = self.log_sigma
        if self.spread is not None:
            log_sigma = log_sigma + self.spread(self._completed(latent[..., : self.config.latent_dim], embedded))
        else:
            log_sigma = log_sigma.expand(*latent.shape[:-1], -1)
        return log_sigma.clamp(*LOG_SIGMA_RANGE)

    def _completed(self, latent: Float[Tensor, "b z d"], embedded: Float[Tensor, "b z e"]) -> Float[Tensor, "b z d"]:
        completed: Tensor = latent + self.completion(torch.cat([latent, embedded], -1))
        return completed

    def infer_within(
        self,
        latent: Float[Tensor, "b d"],
        log_prior: Float[Tensor, "b z"],
        observations: Float[Tensor, "b t o"],
        changes: Float[Tensor, "b t o"],
        actions: Float[Tensor, "b t _a"],
        remembered: Float[Tensor, "b t"],
    ) -> Float[Tensor, "b t z"]:
        """log p(z | context, the episode so far), at each of t steps, of a policy with a memory.

        Args:
            latent: of the context.
            log_prior: log p(z | context).
            observations: at the steps.
            changes: of the observation that the actions led to.
            actions: that were done, encoded; they may differ from those to imitate.
            remembered: how many steps of the episode each one stands for, as all of them may not be here.
        """
        assert self.memory is not None
        added = self.memory(self.observations, observations, changes, actions) * remembered[..., None]
        evidence = self._evidence(latent[:, None].expand(-1, added.shape[1], -1), added.cumsum(1) - added)
        return (log_prior[:, None] + evidence).log_softmax(-1)

    def _evidence(self, latent: Float[Tensor, "*n d"], sums: Float[Tensor, "*n s"]) -> Float[Tensor, "*n z"]:
        """How much likelier, as a logarithm, each hypothesis is after what the episode has told."""
        assert self.memory is not None
        recalled = self.memory.recall(sums[..., : self.memory.n_sums])
        evidence: Tensor = self.evidence(torch.cat([latent[..., : self.config.latent_dim], recalled], -1))
        return evidence * recalled[..., -1:]

    def remember(
        self, observations: Float[Tensor, "n o"], changes: Float[Tensor, "n o"], actions: Float[Tensor, "n a"]
    ) -> Float[Tensor, "n s"]:
        """What each of n steps adds to the sums at the end of a conditioning."""
        parts = []
        if self.memory is not None:
            parts.append(self.memory(self.observations, observations, changes, actions))
        if self.dynamics is not None:
            parts.append(self.dynamics.sums(changes, actions))
        return torch.cat(parts, -1)

    def _modulation(self, latent: Float[Tensor, "b z d"], embedded: Float[Tensor, "b z e"]) -> _Modulation:
        d, n_sums = self.config.latent_dim, self.n_sums
        latent, remembered, _ = latent.split([d, latent.shape[-1] - d - n_sums, n_sums], -1)
        completed = self._completed(latent, embedded)
        shape = self.observations.memory_shape
        if shape is None:
            film, queries = self.modulation(completed), None
        else:
            # Of what is listed a hypothesis says which is meant, and nothing else: it cannot become a heading.
            film = self.modulation(latent if self.observations.lists else completed)
            queries = _queries(self.steering(completed), remembered, *shape)
        return _Modulation(film[:, :, None].split(self._film_sizes, -1), queries)

    def _out(
        self, modulation: _Modulation, tried: Float[Tensor, "b t s"], observations: Float[Tensor, "b #z t o"]
    ) -> Float[Tensor, "b z t a"]:
        """Logits, or means of the actions; `tried` are the sums over all steps that went before."""
        plain, found = self.observations.look(observations, modulation.queries)
        plain = plain.expand(-1, modulation.film[-1].shape[1], -1, -1)
        out = self._layers(modulation.film, plain, [] if found is None else [found])
        if self.dynamics is None:
            return out
        effects = tried[..., tried.shape[-1] - self.dynamics.n_sums :]
        with torch.autocast(out.device.type, enabled=False):  # small inverses want all their digits
            world = self.dynamics(effects, self.observations.unit)
            return self.dynamics.act_through(out.float(), *world)

    def _layers(
        self,
        film: Sequence[Float[Tensor, "*#n _w"]],
        plain: Float[Tensor, "*n p"],
        found: Sequence[Float[Tensor, "*n f"]],
    ) -> Float[Tensor, "*n _a"]:
        """The network, modulated, of what observations say beside entities, and of what was found among these."""
        scale_1, shift_1, scale_2, shift_2, gate = film
        hidden = self.first(torch.cat([plain, plain * gate, *found], -1))
        hidden = (hidden * (1 + scale_1)).add_(shift_1).relu_()
        hidden = (self.second(hidden) * (1 + scale_2)).add_(shift_2).relu_()
        out: Tensor = self.head(hidden)
        return out

    def to_weights(self) -> dict[str, Array]:
        """Parameters and buffers as numpy arrays, for a bundle."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}

    @classmethod
    def from_weights(cls, config: ModelConfig, spec: Spec, weights: Mapping[str, Array]) -> "ConditionalPolicy":
        """The policy that `to_weights` wrote, in evaluation mode. Raises InvalidConfig for other weights."""
        policy = cls(config, spec)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        try:
            policy.load_state_dict(_with_failures_apart(tensors))
        except RuntimeError as error:  # a sentence for each array, below a headline
            differs = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise InvalidConfig(f"its weights do not fit its configuration in this version: {differs}") from error
        return policy.eval()


def _with_failures_apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights; those of a bundle from before failures were read apart read them as they read other trials."""
    counts = weights.get("encoder.counts.weight")
    if counts is None or counts.shape[-1] != 2:
        return weights
    twice = {name: torch.cat([value, value]) for name, value in weights.items() if name.startswith("encoder.trial.4.")}
    return weights | twice | {"encoder.counts.weight": counts[:, [0, 1, 1]]}


def _queries(
    steering: Float[Tensor, "b z q"], remembered: Float[Tensor, "b z p"], n_heads: int, key_size: int
) -> Float[Tensor, "b z h c"]:
    """What to look for: to begin with what head h remembers of demos and trials; then any mixture, or else."""
    mixture, other = steering.split([ABOUT * n_heads**2, n_heads * key_size], -1)
    same = torch.eye(n_heads, device=steering.device).repeat(1, ABOUT)
    keys = remembered.unflatten(-1, (ABOUT * n_heads, key_size))
    return (same + mixture.unflatten(-1, (n_heads, ABOUT * n_heads))) @ keys + other.unflatten(-1, (n_heads, key_size))
