"""Learning what demonstrations look like, so that strange ones can be told: weights for `confidence.Novelty`.

Reads demonstrations alone: no policy, no tasks, no outcomes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from metalearn.confidence import FAR, N_FRAMES, Novelty, portraits
from metalearn.data.episode import Array, Episode
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.data.units import deviation

N_COMPONENTS = 64
HARDLY = 1e-3  # as varied as this, relative to all frames, is as good as constant
FLOOR = 0.05  # added to every variance: directions in which demos hardly differ shall not decide
WIDTH = 128
STEPS = 1000
BATCH = 256
N_KNOWN = 1000


def fit_novelty(demos: Sequence[Episode], spec: Spec, seed: int, steps: int = STEPS) -> dict[str, Array]:
    """Weights of `Novelty`: fitted to one half of the demos, standardised and ranked on the other half."""
    seen = portraits(demos, spec)
    order = np.random.default_rng(seed).permutation(len(seen))
    fitted, held_out = seen[order[: len(seen) // 2]], seen[order[len(seen) // 2 :]]
    weights = {"mean": fitted.mean(0, dtype=np.float64).astype(np.float32), "std": _unit(fitted, spec)}
    normal = np.clip((fitted - weights["mean"]) / weights["std"], -FAR, FAR)
    weights |= _principal(normal) | _contrast(torch.from_numpy(normal), spec, seed, steps)
    weights |= {"middle": np.zeros(2, np.float32), "spread": np.ones(2, np.float32), "known": np.zeros(1, np.float32)}
    distance, logit = Novelty(weights, spec).parts(held_out)
    parts = np.stack([distance, -logit])
    low, middle, high = np.percentile(parts, [16, 50, 84], axis=1).astype(np.float32)
    weights |= {"middle": middle, "spread": np.maximum((high - low) / 2, 1e-3)}
    scores = ((parts - middle[:, None]) / weights["spread"][:, None]).sum(0)
    n_known = min(N_KNOWN, len(scores))
    weights["known"] = np.quantile(scores, (np.arange(n_known) + 0.5) / n_known).astype(np.float32)
    return weights


def _unit(seen: Float[np.ndarray, "n p"], spec: Spec) -> Float[np.ndarray, " p"]:
    """The deviation of every number of portraits; where it hardly varies at a frame, that over all frames.

    A start that is always the same thus stays a start, in any unit. What never varies at all says nothing.
    """
    sizes = [spec.observation_size, len(beside_pictures(spec.parts)), 1]
    blocks = np.split(seen, np.cumsum(sizes[:-1]) * N_FRAMES, axis=1)
    at_frame = deviation(seen)
    over_frames = np.concatenate(
        [
            np.tile(deviation(block.reshape(len(seen) * N_FRAMES, size)), N_FRAMES)
            for block, size in zip(blocks, sizes, strict=True)
        ]
    )
    found = np.where(at_frame > HARDLY * over_frames, at_frame, over_frames)
    return np.where(found > 0, found, np.finfo(np.float32).max).astype(np.float32)


def _principal(normal: Float[np.ndarray, "n p"]) -> dict[str, Array]:
    """Leading axes `[p c]`, the variance along each, and the mean variance of what they leave."""
    _, sizes, axes = np.linalg.svd(normal, full_matrices=False)
    variances = sizes**2 / len(normal)
    rest = variances[N_COMPONENTS:].sum() / max(1, normal.shape[1] - N_COMPONENTS)
    return {
        "axes": np.ascontiguousarray(axes[:N_COMPONENTS].T),
        "variances": (variances[:N_COMPONENTS] + FLOOR).astype(np.float32),
        "residual": np.array([rest + FLOOR], np.float32),
    }


def _contrast(real: Float[Tensor, "n p"], spec: Spec, seed: int, steps: int) -> dict[str, Array]:
    """A network that tells real portraits from shuffled ones, by its log odds."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(real.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)
        )
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        batch = real[torch.randint(len(real), (BATCH,), generator=generator)]
        wrong = shuffled(batch, spec, generator)
        loss = functional.softplus(-network(batch)).mean() + functional.softplus(network(wrong)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
    return layers(network)


def shuffled(real: Float[Tensor, "n p"], spec: Spec, generator: torch.Generator) -> Float[Tensor, "n p"]:
    """Portraits that are wrong in one of four ways: frames, components or numbers of another demo, or noise.

    How much of each is wrong is drawn too, so that coarse and fine mistakes are learnt.
    """
    (n, p), size, changing = real.shape, spec.observation_size, beside_pictures(spec.parts)
    other = real[torch.randint(n, (n,), generator=generator)]
    share = torch.rand((n, 1, 1), generator=generator)
    by_frame = (torch.rand((n, N_FRAMES, 1), generator=generator) < share).expand(-1, -1, size)
    by_component = (torch.rand((n, 1, size), generator=generator) < share).expand(-1, N_FRAMES, -1)
    kept = torch.zeros((n, N_FRAMES), dtype=torch.bool)
    by_number = torch.rand((n, p), generator=generator) < share[:, 0]
    noise = torch.randn((n, p), generator=generator) * torch.rand((n, 1), generator=generator).square()
    candidates = [
        torch.where(torch.cat([mask.flatten(1), mask[..., changing].flatten(1), kept], 1), other, real)
        for mask in (by_frame, by_component)
    ]
    candidates += [torch.where(by_number, other, real), torch.where(by_number, real + noise, real)]
    kind = torch.randint(len(candidates), (n,), generator=generator)
    return torch.stack(candidates, 1)[torch.arange(n), kind]


def layers(network: nn.Sequential) -> dict[str, Array]:
    """The linear layers of a network as `hidden1`, `hidden1_bias`, ..., `out`, `out_bias`; `x @ w + b`."""
    linear = [module for module in network if isinstance(module, nn.Linear)]
    names = [f"hidden{i}" for i in range(1, len(linear))] + ["out"]
    weights = {}
    for name, layer in zip(names, linear, strict=True):
        weights[name] = layer.weight.detach().T.contiguous().numpy().copy()
        weights[f"{name}_bias"] = layer.bias.detach().numpy().copy()
    return weights
