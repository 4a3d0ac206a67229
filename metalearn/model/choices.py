"""Categorical actions of one or several components: their logits stand one after the other in one vector.

Pure functions. Does not know what the choices mean, nor from which number they are counted.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def log_likelihood_of_choices(
    logits: Float[Tensor, "*n a"], chosen: Int[Tensor, "*m"], choices: tuple[int, ...]
) -> Float[Tensor, "*n"]:
    """log p(chosen) = sum over components i of log softmax(logits_i)[chosen_i].

    Args:
        logits: of all choices of all components, a = sum of `choices`.
        chosen: `[*n]` for one component, `[*n, k]` for k; counted from 0.
        choices: how many each component has.
    """
    by_component = chosen.reshape(*logits.shape[:-1], len(choices)).unbind(-1)
    steps = [
        -functional.cross_entropy(part.flatten(0, -2), one.flatten(), reduction="none").view(one.shape)
        for part, one in zip(logits.split(choices, -1), by_component, strict=True)
    ]
    return steps[0] if len(steps) == 1 else torch.stack(steps).sum(0)


def most_probable_choices(logits: Float[Tensor, "*n a"], choices: tuple[int, ...]) -> Int[Tensor, "*m"]:
    """The best choice of each component: `[*n]` for one component, `[*n, k]` for k."""
    if len(choices) == 1:
        return logits.argmax(-1)
    return torch.stack([part.argmax(-1) for part in logits.split(choices, -1)], -1)
