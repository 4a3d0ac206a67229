"""Train a suite with the settings that somebody chose for it by hand, as `wtl train` does with nothing set.

    python -m benchmarks.by_hand reach-m2 --out DIR [--seed 0]

It can be stopped, and goes on where it was.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from metalearn.benchmark.by_hand import BY_HAND
from metalearn.training.collect import SerialCollector
from wtl.runs import run_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=BY_HAND)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run_training(BY_HAND[given.suite].with_seed(given.seed), given.out, None, SerialCollector(), (), Console())


if __name__ == "__main__":
    main()
