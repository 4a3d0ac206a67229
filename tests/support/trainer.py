"""What `wtl train` looks like from outside, in a moment: an event log, a checkpoint, a bundle, an end by SIGTERM.

Counts `--steps` steps of 20 ms; a checkpoint says where an earlier run in the folder was stopped or killed.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("experiment", nargs="?", default="")
parser.add_argument("--dataset")
parser.add_argument("--family")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--minutes", type=float)
parser.add_argument("--set", action="append")
parser.add_argument("--out", type=Path)
arguments = parser.parse_args()
out: Path = arguments.out
if arguments.experiment == "unheard-of":
    sys.stderr.write("wtl: unknown experiment 'unheard-of'; known: reach-m2.\n")
    sys.exit(2)


def note(kind: str, **fields: object) -> None:
    with (out / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind, "at": time.time(), **fields}) + "\n")


def stop(*_: object) -> None:
    note("stopped", detail="stopped; the same command resumes")
    sys.exit(143)


signal.signal(signal.SIGTERM, stop)
note("started", pid=os.getpid())
sys.stdout.write(f"arguments: {' '.join(sys.argv[1:])}\n")
sys.stdout.write(f"secrets: {sorted(name for name in os.environ if name.startswith('WTL_'))}\n")
if arguments.experiment == "broken":
    note("failed", detail="ValueError: this cannot be learnt")
    raise ValueError("this cannot be learnt")
checkpoint = out / "checkpoint"
step = int(checkpoint.read_text()) if checkpoint.exists() else 0
(out / "resumed").open("a").write(f"{step}\n")
while step < arguments.steps:
    step += 1
    time.sleep(0.02)
    (out / "draft").write_text(str(step))
    (out / "draft").replace(checkpoint)
    note(
        "progress",
        phase="train",
        done=step,
        total=arguments.steps,
        loss=1 / step,
        ends_in_s=0.02 * (arguments.steps - step),
    )
    if arguments.experiment == "fragile" and step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if arguments.experiment == "doomed":
        os.kill(os.getpid(), signal.SIGKILL)
note("progress", phase="train", done=step, total=arguments.steps, loss=0.5, trial=0.5, retrial=1.0, success=[0.5, 1.0])

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
from support.pointing import bundle  # noqa: E402

bundle(gain=1.0 + arguments.seed).save(out / "bundle")
note("finished")
