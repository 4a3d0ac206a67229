"""An ask of few numbers is heard beside one of many."""

import torch

from metalearn.model.asks import AskReader


def test_kinds_of_any_size_weigh_alike_at_first() -> None:
    torch.manual_seed(0)
    goal, words, latent_dim = 3, 385, 64
    reader = AskReader((goal, words), latent_dim, 256)
    rest = torch.zeros(512, goal + words)
    latent = torch.zeros(512, latent_dim)

    def heard(start: int, size: int) -> float:
        asked = rest.clone()
        asked[:, start : start + size] = torch.randn(512, size)
        return float(reader(latent, asked).detach().std(0).mean())

    assert 0.5 < heard(0, goal) / heard(goal, words) < 2


def test_nothing_is_added_where_nothing_is_asked_for() -> None:
    torch.manual_seed(0)
    reader, latent = AskReader((3, 5), 4, 8), torch.randn(2, 4)
    asks = torch.zeros(2, 8)
    asks[1, 0] = 1.0
    read = reader(latent, asks)
    assert torch.equal(read[0], latent[0]) and not torch.equal(read[1], latent[1])
