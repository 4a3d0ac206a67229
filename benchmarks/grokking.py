"""Grokking where it is known to exist: addition modulo 59, learnt from half of its table (Power et al. 2022).

    python -m benchmarks.grokking [--decay 0 0.01 1] [--seed 0] [--steps 6000] [--fraction 0.5]

An embedding of 64 for each number, an MLP of 256, AdamW over the whole training half at every step. It is there to
show that the instrument would see a sudden generalisation, before the same is asked of meta-learning. What is in
benchmarks/results/grokking is not done again. Ends with the page and its picture.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.trained import ROOT, measure_once, table, write_page
from metalearn.evaluation.figures import new_figure, save

RESULTS = ROOT / "benchmarks" / "results" / "grokking"
P, EMBEDDING, WIDTH = 59, 64, 256
LEARNING_RATE = 1e-3
EVERY = 50
GROKKED = 0.99


class Adder(nn.Module):
    """The logits of a + b modulo `P`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(P, EMBEDDING)
        self.layers = nn.Sequential(nn.Linear(2 * EMBEDDING, WIDTH), nn.ReLU(), nn.Linear(WIDTH, P))

    def forward(self, pairs: Tensor) -> Tensor:
        """`[n, 2]` to `[n, P]`."""
        out: Tensor = self.layers(self.embedding(pairs).flatten(1))
        return out


def measure(decay: float, seed: int, steps: int, fraction: float) -> dict[str, Any]:
    """Accuracy on both parts of the table along one training."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    pairs = torch.tensor(list(itertools.product(range(P), repeat=2)))
    sums = pairs.sum(1) % P
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pairs)))
    seen, new = order.split([round(fraction * len(pairs)), len(pairs) - round(fraction * len(pairs))])
    model, started = Adder(), time.process_time()
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=decay)
    curve = []
    for step in range(1, steps + 1):
        loss = nn.functional.cross_entropy(model(pairs[seen]), sums[seen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % EVERY == 0:
            with torch.no_grad():
                right = model(pairs).argmax(1) == sums
            accuracy = {"train": right[seen].float().mean().item(), "test": right[new].float().mean().item()}
            curve.append({"step": step, "loss": loss.item(), **accuracy})
    grokked = next((point["step"] for point in curve if point["test"] > GROKKED), None)
    learnt = next((point["step"] for point in curve if point["train"] > GROKKED), None)
    return {
        "decay": decay, "seed": seed, "steps": steps, "fraction": fraction, "learnt": learnt, "grokked": grokked,
        "processor_s": round(time.process_time() - started, 1), "curve": curve,
    }  # fmt: skip


def page(results: Path) -> str:
    """Every training as a row, and its curve in a picture."""
    found = [json.loads(path.read_text()) for path in results.glob("*.json")]
    found.sort(key=lambda one: (one["fraction"], one["decay"], one["seed"]))
    draw(found, results / "curves.png")
    head = ("weight decay", "seed", "of the table", "train > 99% at step", "test > 99% at step", "test at the end",
            "steps", "processor, s")  # fmt: skip
    lines = [
        "# Grokking: the instrument", "",
        f"Addition modulo {P}, embedding {EMBEDDING}, MLP {WIDTH}, AdamW with a learning rate of {LEARNING_RATE},",
        "the whole training part at every step. Made by `python -m benchmarks.grokking` from the files beside it.", "",
        "![Accuracy on both parts of the table along each training](grokking/curves.png)", "",
        *table(head, map(_row, found)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _row(one: dict[str, Any]) -> list[str]:
    steps = [f"{one[name]:,}" if one[name] else "never" for name in ("learnt", "grokked")]
    end = f"{100 * one['curve'][-1]['test']:.1f}%"
    start = [f"{one['decay']:g}", str(one["seed"]), f"{100 * one['fraction']:.0f}%"]
    return [*start, *steps, end, f"{one['steps']:,}", f"{one['processor_s']:.0f}"]


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Training part dashed, test part whole, one colour for each training."""
    figure = new_figure(8.4, 3.6, f"Addition modulo {P}", "Dashed: the part that is trained on; whole: the rest.")
    axes = figure.add_subplot()
    for number, one in enumerate(found):
        steps = [point["step"] for point in one["curve"]]
        label = f"weight decay {one['decay']:g}, seed {one['seed']}"
        for part, style in (("train", "--"), ("test", "-")):
            values = [100 * point[part] for point in one["curve"]]
            axes.plot(steps, values, style, color=f"C{number}", label=label if part == "test" else None)
    axes.set_xlabel("gradient steps")
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False)
    save(figure, path)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decay", type=float, nargs="+", default=[0.0, 0.01, 1.0])
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--fraction", type=float, nargs="+", default=[0.5])
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for decay, seed, fraction in itertools.product(given.decay, given.seed, given.fraction):
        title = f"decay{decay:g}-fraction{fraction:g}-seed{seed}"
        measure_once(RESULTS, title, lambda one=(decay, seed, given.steps, fraction): measure(*one))  # type: ignore[misc]
    write_page(RESULTS, page)


if __name__ == "__main__":
    main()
