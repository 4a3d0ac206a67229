"""Learning to predict success: the weights with which `Confidence` turns features into probabilities.

Reads numbers and outcomes; knows neither episodes nor policies.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.confidence import N_KINDS, STRANGE_UNTRIED, standardised
from metalearn.data.episode import Array
from metalearn.data.units import deviation
from metalearn.training.novelty import layers

WIDTH = 32
STEPS = 1000
CHECK = 50  # steps between looks at the tasks that decide when to stop
BATCH = 256


def fit_head(
    seen: Float[np.ndarray, "n f"],
    outcomes: Float[np.ndarray, "n 2"],
    task: Int[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    learnt: Bool[np.ndarray, " n"],
    seed: int,
    steps: int = STEPS,
) -> dict[str, Array]:
    """Weights that turn descriptions into two probabilities: a small network, then Platt's scaling.

    The network is fitted where `learnt`, for as many steps as are best for a fifth of those tasks, the scaling
    everywhere else, apart for each `group` (`confidence.kind`). Outcomes are 0 or 1, NaN where nobody knows.
    """
    check = learnt & (task // 2 % 5 == 0)
    mean, std = seen[learnt].mean(0, dtype=np.float64).astype(np.float32), deviation(seen[learnt])
    std = np.where(std > 0, std, np.finfo(np.float32).max).astype(np.float32)
    inputs, targets = torch.from_numpy(standardised(seen, mean, std)), torch.from_numpy(outcomes).float()
    fitted, checked = torch.from_numpy(learnt & ~check), torch.from_numpy(check)
    network = _fit(inputs[fitted], targets[fitted], inputs[checked], targets[checked], seed, steps)
    with torch.inference_mode():
        logits = network(inputs).double().numpy()
    # A demo can be strange in more ways than were tried: before a trial of it was scored the rate alone counts.
    logits[group == STRANGE_UNTRIED] = 0
    groups = [~learnt & (group == number) for number in range(N_KINDS)]
    scales = [[platt(logits[here, i], outcomes[here, i]) for i in range(2)] for here in groups]
    scales[STRANGE_UNTRIED] = [(0.0, offset) for _, offset in scales[STRANGE_UNTRIED]]
    slopes, offsets = np.moveaxis(np.array(scales, np.float32), 2, 0).copy()
    return {"mean": mean, "std": std, "slopes": slopes, "offsets": offsets, **layers(network)}


def platt(logits: Float[np.ndarray, " n"], outcomes: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Slope a and offset b of p = 1 / (1 + exp(-(a logit + b))), at the highest likelihood, by Newton's method.

    Outcomes count as (N+ + 1) / (N+ + 2) and 1 / (N- + 2), so that outcomes that are all alike do not lead
    to certainty; NaN does not count. J. Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    known = ~np.isnan(outcomes)
    x, y = logits[known], outcomes[known] > 0.5
    target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
    design = np.stack([x, np.ones_like(x)], 1)
    # A weak pull towards leaving logits as they are, which also keeps a constant logit solvable.
    pull, start = np.diag([1e-2, 1e-6]), np.array([1.0, 0.0])
    ab = start.copy()
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ ab, -30, 30)))
        gradient = design.T @ (p - target) + pull @ (ab - start)
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + pull
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))  # far from the top Newton's steps overshoot
        ab -= step
        if np.abs(step).max() < 1e-8:
            break
    return float(max(ab[0], 0.0)), float(ab[1])


def _fit(
    inputs: Float[Tensor, "n f"],
    targets: Float[Tensor, "n 2"],
    check_inputs: Float[Tensor, "m f"],
    check_targets: Float[Tensor, "m 2"],
    seed: int,
    steps: int,
) -> nn.Sequential:
    """The network after the number of steps that is best for the tasks of the check."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1.0)
    best, best_loss = {k: v.clone() for k, v in network.state_dict().items()}, np.inf
    for step in range(1, steps + 1):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        loss = _loss(network(inputs[rows]), targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % CHECK == 0 or step == steps:
            with torch.inference_mode():
                check = float(_loss(network(check_inputs), check_targets))
            if check < best_loss:
                best, best_loss = {k: v.clone() for k, v in network.state_dict().items()}, check
    network.load_state_dict(best)
    return network


def _loss(logits: Float[Tensor, "n 2"], targets: Float[Tensor, "n 2"]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, of the outcomes that are known."""
    known = ~targets.isnan()
    losses = functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)
