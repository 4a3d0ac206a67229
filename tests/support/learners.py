"""Learners in processes of their own, which find each other through a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing


def in_processes(n: int, work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What `work(rank, *arguments)` returns in each of `n` processes of one process group."""
    multiprocessing.start_processes(_process, (n, work, folder, arguments), nprocs=n, start_method="spawn")
    return [torch.load(folder / f"result-{rank}", weights_only=False) for rank in range(n)]


def _process(rank: int, n: int, work: Callable[..., Any], folder: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=n)
    try:
        torch.save(work(rank, *arguments), folder / f"result-{rank}")
    finally:
        dist.destroy_process_group()
