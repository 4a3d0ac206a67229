"""What an episode is remembered by, step by step."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

from metalearn.config import ModelConfig
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.model.policy import ConditionalPolicy

PICTURES = spaces.Box(0, 255, (16, 16, 1), np.uint8)
NUMBERS = spaces.Box(-1.0, 1.0, (1,), np.float32)
SPACES = {
    "a picture": PICTURES,
    "a number": NUMBERS,
    "a picture among parts": spaces.Dict(camera=PICTURES, speed=NUMBERS),
}


def seen(kind: str, places: Tensor) -> Tensor:
    """Things at places from 2 to 13, as a picture or a number shows them."""
    pictures = functional.one_hot(places, 16)[:, None].expand(-1, 16, -1).flatten(1) * 255.0
    numbers = places[:, None] / 8 - 1
    return {"a picture": pictures, "a number": numbers, "a picture among parts": torch.cat([pictures, 0 * numbers], 1)}[
        kind
    ]


@pytest.mark.parametrize("kind", SPACES)
def test_which_way_a_motor_turns_is_learnt_from_single_steps(kind: str) -> None:
    torch.manual_seed(0)
    spec = Spec(SPACES[kind], NUMBERS, horizon=10, rate_hz=10.0)
    memory = ConditionalPolicy(ModelConfig(n_hypotheses=2, memory=4, encoder_width=32), spec)
    reader = nn.Linear(5, 1)
    assert memory.memory is not None
    optimiser = torch.optim.Adam([*memory.memory.parameters(), *reader.parameters()], 3e-3)

    def told(n: int) -> tuple[Tensor, Tensor]:
        """What the memory makes of n steps, and whether the motor is right."""
        places, actions, right = torch.randint(2, 14, (n,)), torch.rand(n, 1) * 2 - 1, torch.rand(n) < 0.5
        moved = places + (2 * right - 1) * actions[:, 0].sign().long()
        before = seen(kind, places)
        return reader(memory.remember(before, seen(kind, moved) - before, actions))[:, 0], right

    changes = seen(kind, torch.arange(3, 14)) - seen(kind, torch.arange(2, 13))
    memory.memory.fit(changes[:, torch.from_numpy(beside_pictures(spec.parts))])
    for _ in range(200):
        told_so_far, right = told(64)
        optimiser.zero_grad()
        functional.binary_cross_entropy_with_logits(told_so_far, right.float()).backward()
        optimiser.step()
    with torch.inference_mode():
        told_so_far, right = told(512)
    assert ((told_so_far > 0) == right).float().mean() > 0.95
    assert all(value.grad is None for value in memory.observations.parameters())
