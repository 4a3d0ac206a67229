"""Trainings that a benchmark starts by `wtl train`, each in a folder of its own, and the cells of its tables.

A training that was stopped goes on at the next call; one that ended is not done again.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from metalearn.evaluation.report import MethodReport, Rate

ROOT = Path(__file__).parent.parent


WTL_TRAIN = ("wtl.cli", "train")


def train(arguments: Sequence[str], folder: Path, program: Sequence[str] = WTL_TRAIN) -> dict[str, Any]:
    """Run `wtl train`, or another module, with `arguments`; the command and what it took, summed over the calls.

    Raises:
        SystemExit: with the command's own exit code, where it failed.
    """
    record = folder.with_suffix(".json")
    done = json.loads(record.read_text()) if record.exists() else {"processor_s": 0.0, "wall_s": 0.0}
    if done.get("finished"):
        return done
    said = ("wtl", "train") if program is WTL_TRAIN else ("python", "-m", *program)
    before, started = processor_s(), time.monotonic()
    code = -1
    try:
        code = _call([sys.executable, "-m", *program, *arguments, "--out", str(folder)])
    finally:
        done = {
            "command": " ".join([*said, *arguments]).replace(f"{ROOT}/", ""),
            "processor_s": round(done["processor_s"] + processor_s() - before, 1),
            "wall_s": round(done["wall_s"] + time.monotonic() - started, 1),
            "finished": code == 0,
        }
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(done))
    if code:
        raise SystemExit(code)
    return done


def _call(command: Sequence[str]) -> int:
    """Run a command, which is asked to stop when this process is; its exit code."""
    with subprocess.Popen(command, cwd=ROOT) as child:
        try:
            return child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise


def processor_s() -> float:
    """Processor time of all commands that this process has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_once(results: Path, title: str, measure: Callable[[], dict[str, Any]]) -> None:
    """Keep what is measured as `title`.json in the folder of results, if it is not there yet."""
    result = results / f"{title}.json"
    if not result.exists():
        print(f"== {title}", flush=True)
        result.write_text(json.dumps(measure(), indent=1) + "\n")


def write_page(results: Path, page: Callable[[Path], str]) -> None:
    """Print the page of a folder of results, and keep it beside the folder."""
    written = page(results)
    results.with_suffix(".md").write_text(written)
    print(written)


def say(what: str, done: int, total: int) -> None:
    """Print what has been evaluated, once it has been."""
    if done == total:
        print(f"{what} {done}/{total}", flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def curve(method: MethodReport | None, *, intervals: bool) -> str:
    """Success in % after 0, 1, ... trials, or nothing where there is no method."""
    if method is None:
        return ""
    return " / ".join(rate(point) if intervals else f"{100 * point.success:.0f}" for point in method.curve)


def rate(rate: Rate) -> str:
    """Success in % with its interval."""
    low, high = rate.ci95
    return f"{100 * rate.success:.1f} ({100 * low:.1f}..{100 * high:.1f})"
