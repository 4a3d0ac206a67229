"""What is freed stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
import torch
{before}

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

def grown():
    before = resident()
    tensor = torch.ones(2**24)  # 64 MiB
    del tensor
    return (resident() - before) * 4096 / 2**20

print(grown())
"""
KEEPING = "from metalearn.training.heap import keep_freed_memory; keep_freed_memory()"


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is of Linux")
@pytest.mark.parametrize(("before", "kept"), [(KEEPING, True), ("", False)])
def test_a_large_tensor_that_is_freed_stays_with_the_process_only_if_it_is_to(before: str, kept: bool) -> None:
    program = PROGRAM.format(before=before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (float(done.stdout) > 60) == kept
