"""What is asked for, read in the light of what was shown and tried. Knows asks as numbers (`metalearn.data.asks`)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AskReader(nn.Module):
    """What an ask adds to the latent of a context; nothing where nothing is asked for.

    It is added after batch normalisation, which would make what is asked of one context depend on the others.
    """

    def __init__(self, n_features: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features + latent_dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, latent_dim),
        )  # fmt: skip

    def forward(self, latent: Float[Tensor, "b d"], asks: Float[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The latent, with what `asks` say; those of zeros say nothing."""
        asked = (asks.abs().sum(-1, keepdim=True) > 0).to(latent.dtype)
        added: Tensor = self.layers(torch.cat([asks, latent], -1))
        return latent + added * asked
