"""Broken recordings for every reader: python -m benchmarks.fuzz_files [--cases 20000] [--seed 0] [--formats npz,json].

Ends with 1 if a reader raised what is no error of ours, crashed, hung, or changed something in silence. `--only N`
repeats one case and prints all of it.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.fuzzed_files import LAYOUTS, Case, Verdict, judge  # noqa: E402
from support.fuzzed_files.judge import NAMES, OUTCOMES  # noqa: E402

LONGEST_S = 30.0
MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default=",".join(LAYOUTS), help="names, with commas between them")
    parser.add_argument("--only", type=int, help="the number of one case to repeat")
    arguments = parser.parse_args()
    cases = [Case.drawn(i, arguments.seed, arguments.formats.split(",")) for i in range(arguments.cases)]
    console, started_s = Console(width=None if sys.stdout.isatty() else 110), time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        home = Path(folder) / "cases"
        home.mkdir()
        if arguments.only is not None:
            print(cases[arguments.only], judge(cases[arguments.only], home))
            return 0
        counts: Counter[tuple[str, str, str]] = Counter()
        failures = []
        judged = track(judged_apart(cases, home), "cases", len(cases), console=Console(stderr=True))
        for index, (case, verdict) in enumerate(judged):
            for mutation in case.mutations[:1]:
                counts[case.format, mutation, verdict.outcome] += 1
            if verdict.outcome == "failure":
                failures.append(f"case {index} of seed {arguments.seed}: {case}\n{verdict.why}")
    _print(console, counts)
    for failure in failures:
        console.print(failure, markup=False, highlight=False)
    taken_s = time.monotonic() - started_s
    print(f"{len(cases):,} cases of {len(LAYOUTS)} layouts in {taken_s:.0f} s, {len(failures)} failures")
    return 1 if failures else 0


def judged_apart(cases: Sequence[Case], home: Path) -> Iterator[tuple[Case, Verdict]]:
    """Judge all cases in a process of their own, so that a crash or an endless loop of a library is one failure."""
    context = multiprocessing.get_context("fork")
    done = 0
    while done < len(cases):
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(cases[done:], home / str(done), sender), daemon=True)
        worker.start()
        sender.close()
        try:
            while done < len(cases):
                verdict = receiver.recv() if receiver.poll(LONGEST_S) else None
                if verdict is None:
                    worker.kill()
                    yield cases[done], Verdict("failure", f"no end in {LONGEST_S:g} s")
                else:
                    yield cases[done], verdict
                done += 1
                if verdict is None:
                    break
        except EOFError:
            worker.join()
            yield cases[done], Verdict("failure", f"the process ended with {worker.exitcode}")
            done += 1
        worker.join()


def _work(cases: Sequence[Case], home: Path, sender: Connection) -> None:
    home.mkdir()
    for case in cases:
        try:
            sender.send(judge(case, home))
        except Exception:
            sender.send(Verdict("failure", traceback.format_exc()))


def _print(console: Console, counts: Counter[tuple[str, str, str]]) -> None:
    """What came of the cases, by their format and by their first mutation."""
    others = sorted({outcome for _, _, outcome in counts} - set(OUTCOMES))
    for title, place, rows in (("format", 0, tuple(LAYOUTS)), ("mutation", 1, NAMES)):
        table = Table(title, "cases", *OUTCOMES, *others, box=None, pad_edge=False)
        for row in rows:
            of_row = Counter[str]()
            for key, n in counts.items():
                if key[place] == row:
                    of_row[key[2]] += n
            table.add_row(row, str(of_row.total()), *(str(of_row[one]) for one in (*OUTCOMES, *others)))
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
