"""What is asked for, read in the light of what was shown and tried. Knows asks as numbers (`metalearn.data.asks`)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AskReader(nn.Module):
    """What an ask adds to the latent of a context; nothing where nothing is asked for.

    It is added after batch normalisation, which would make what is asked of one context depend on the others. The first
    layer begins with as much weight on each kind of ask as on any other, whatever its size: among the 384 numbers of a
    sentence the two of a goal would hardly be heard.

    Args:
        sizes: numbers of each kind of ask.
        latent_dim: of the latent.
        width: of the hidden layers.
    """

    def __init__(self, sizes: Sequence[int], latent_dim: int, width: int) -> None:
        super().__init__()
        blocks = (*sizes, latent_dim)
        first = nn.Linear(sum(blocks), width)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_dim))
        with torch.no_grad():
            for block in first.weight.split(blocks, dim=1):
                block.uniform_(-1, 1).div_(math.sqrt(block.shape[1] * len(blocks)))

    def forward(self, latent: Float[Tensor, "b d"], asks: Float[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The latent, with what `asks` say; those of zeros say nothing."""
        asked = (asks.abs().sum(-1, keepdim=True) > 0).to(latent.dtype)
        added: Tensor = self.layers(torch.cat([asks, latent], -1))
        return latent + added * asked
