"""From an environment file to a served policy: what it takes, beside the minutes that were asked for.

    python -m benchmarks.first_hour [--minutes 2] [--name doors]

In a folder of its own, what `wtl new-task` and `wtl train` print is run as it is printed, but that the training is told
minutes and not steps; a second training leaves the baselines out. Then the policy is served, adapted to a demonstration
and asked for an action. Prints a table, of commands with their processor time, and writes results/first-hour.json.
"""

import argparse
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.trained import processor_s
from service.client import Client
from wtl.next_lines import command

OUT = Path(__file__).resolve().parent / "results" / "first-hour.json"
START_TIMEOUT_S = 300
_STAGE = re.compile(r"\s*\d\S* (?:s|min|h)\s+([a-z-]+)")
_NEXT = "What to type next:"


@dataclass(frozen=True)
class Step:
    """What was typed, or done in Python, how long it took, and what it printed."""

    name: str
    line: str
    wall_s: float
    processor_s: float | None = None
    printed: str = ""
    stages_s: tuple[tuple[str, float], ...] = ()

    def next_line(self, verb: str) -> str:
        """Return the line with this verb among those to type next."""
        lines = [line.strip() for line in self.printed.partition(_NEXT)[2].splitlines()]
        (found,) = [line for line in lines if verb in shlex.split(line)]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what is kept, without the places of this machine."""
        line = re.sub(r"^\S*wtl(?= )", "wtl", self.line)
        return {"step": self.name, "typed": line, "wall_s": round(self.wall_s, 2)} | (
            {} if self.processor_s is None else {"processor_s": round(self.processor_s, 2)}
        )


def typed(name: str, line: str) -> Step:
    """Run a line in a shell, as somebody would who types it, and note when its stages begin."""
    began_s, before_s = time.monotonic(), processor_s()
    lines, marks = [], [(began_s, "start")]
    with subprocess.Popen(line, shell=True, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for printed in process.stdout:
            lines.append(printed)
            stage = _STAGE.match(printed)
            if stage and stage[1] != marks[-1][1]:
                marks.append((time.monotonic(), stage[1]))
    if process.returncode:
        raise SystemExit(f"{line} ended with {process.returncode}")
    ended_s = time.monotonic()
    stages_s: defaultdict[str, float] = defaultdict(float)
    for (at_s, stage_name), (until_s, _) in zip(marks, [*marks[1:], (ended_s, "end")], strict=True):
        stages_s[stage_name] += until_s - at_s
    spent_s = processor_s() - before_s
    return Step(name, line, ended_s - began_s, spent_s, "".join(lines), tuple(stages_s.items()))


def done(name: str, line: str, act: Callable[[], object]) -> Step:
    """Do something in Python."""
    began_s = time.monotonic()
    act()
    return Step(name, line, time.monotonic() - began_s)


@contextmanager
def serving(line: str) -> Iterator[tuple[Step, str]]:
    """Serve until the block ends; yields what it took until the server was ready, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line, url = f"{line} --port {port}", f"http://127.0.0.1:{port}"
    began_s = time.monotonic()
    server = subprocess.Popen(shlex.split(line), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not _ready(url):
            if server.poll() is not None or time.monotonic() - began_s > START_TIMEOUT_S:
                raise SystemExit(f"{line} did not start")
            time.sleep(0.05)
        yield Step("serve", line.replace(str(port), "PORT"), time.monotonic() - began_s), url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def measure(name: str, minutes: float) -> list[Step]:
    """Take every step, in the current folder, which is empty."""
    made = typed("new-task", command("new-task", name))
    inspected = typed("inspect", made.next_line("inspect"))
    line = re.sub(r"--steps \d+", f"--minutes {minutes:g}", made.next_line("train"))
    trained = typed("train", line)
    alone = typed("train, no baselines", f"{line} --no-baselines --out runs/alone")
    with serving(trained.next_line("serve")) as (served, url), Client(url, timeout_s=120) as client:
        demo = client.model(name).example
        adapted: list[Any] = []
        adapting = done("adapt", "client.adapt(name, demos=[demo])", lambda: adapted.append(client.adapt(name, [demo])))
        acting = done("act", "adaptation.act(observations)", lambda: adapted[0].act(demo.observations[:1]))
    return [made, inspected, trained, alone, served, adapting, acting]


def report(steps: list[Step], minutes: float) -> dict[str, Any]:
    """Return what is written down."""
    trained, alone = (next(step for step in steps if step.name == name) for name in ("train", "train, no baselines"))
    in_all_s = sum(step.wall_s for step in steps if step is not alone)
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(), "cpus": os.cpu_count(), "load": round(os.getloadavg()[1], 1),
        "minutes_asked": minutes,
        "training_minutes": {
            "with_baselines": round(trained.wall_s / 60, 2), "without_baselines": round(alone.wall_s / 60, 2),
            "stages_with_baselines": {name: round(spent_s / 60, 2) for name, spent_s in trained.stages_s},
        },
        "minutes_in_all": {
            "with_baselines": round(in_all_s / 60, 2),
            "without_baselines": round((in_all_s - trained.wall_s + alone.wall_s) / 60, 2),
        },
        "steps": [step.to_json() for step in steps],
    }  # fmt: skip


def told(found: dict[str, Any]) -> str:
    """Return the report as a table for a person."""
    rows = [
        f"{step['wall_s']:8.2f} s, processor {step.get('processor_s', '-'):>7} s  {step['step']:20} {step['typed']}"
        for step in found["steps"]
    ]
    training, whole = found["training_minutes"], found["minutes_in_all"]
    stages = ", ".join(f"{name} {spent:g}" for name, spent in training["stages_with_baselines"].items())
    return "\n".join(rows) + (
        f"\nasked for {found['minutes_asked']:g} min: the training took {training['with_baselines']} with baselines "
        f"({stages}), {training['without_baselines']} without; from the file to an action "
        f"{whole['with_baselines']} min with baselines, {whole['without_baselines']} without"
    )


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="what the training may take")
    parser.add_argument("--name", default="doors", help="name of the family that is made")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    out = given.out.resolve()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        found = report(measure(given.name, given.minutes), given.minutes)
    print(told(found))
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
