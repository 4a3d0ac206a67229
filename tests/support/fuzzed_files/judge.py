"""One case: a recording is made, broken, written, read through the door of `wtl adapt`, and judged.

Allowed are an error of our own kinds, a remark or a skipped episode that the whole recording does not have, and what
the broken recording says as its own library reads it. A harmless mutation has to change nothing.
"""

import shutil
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gymnasium import spaces
from support.fuzzed_files.damage import FILES
from support.fuzzed_files.layout import FLAT, Layout
from support.fuzzed_files.layouts import LAYOUTS
from support.fuzzed_files.mutations import NEAR, TREES, Slip, near_name
from support.fuzzed_files.told import ACTION_SIZE, Contradiction, Recording, Told, Tree

from metalearn.data.errors import WatchTryLearnError
from metalearn.data.formats import Recorded, Selection
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from wtl.cli.recordings import fitted, read_sources

SPEC = Spec(
    FLAT,
    spaces.Box(-1, 1, (ACTION_SIZE,), np.float32),
    horizon=50,
    rate_hz=20.0,
)
NAMES = (NEAR, *TREES, *FILES)
HARMLESS = {"order of members", "wider floats", "link to the file", "hidden files"}
"""After these a recording says the same, and has to be read as before. (Minari does not read byte order marks.)"""
N_WHOLE = 20
"""Whole recordings of each format that are broken."""
OUTCOMES = ("as before", "as written", "remark", "error", "failure")
Read = Callable[[str, Selection], Recorded]


@dataclass(frozen=True)
class Verdict:
    """What came of a case: one of `OUTCOMES`, and why it is a failure."""

    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Case:
    """A case by its format, its mutations and its seed: the same one every time."""

    format: str
    mutations: tuple[str, ...]
    seed: int

    @classmethod
    def drawn(cls, index: int, seed: int, formats: Sequence[str]) -> "Case":
        """The `index`-th case of a run: formats and first mutations take turns, half of the cases have a second."""
        rng = np.random.default_rng((seed, index))
        first = NAMES[index // len(formats) % len(NAMES)]
        second = (NAMES[rng.integers(len(NAMES))],) if rng.integers(2) else ()
        return cls(formats[index % len(formats)], (first, *second), int(rng.integers(2**31)))


def read_as_adapt(source: str, selection: Selection) -> Recorded:
    """The demonstrations of a source, as `wtl adapt` has them before it sends them."""
    return _read_for(SPEC, source, selection)


def _read_for(spec: Spec, source: str, selection: Selection) -> Recorded:
    parts = read_sources([source], None, selection.for_model(spec))
    return fitted(parts, spec, clip=False, skip_bad=selection.skip_bad)[0]


READERS: Mapping[str, Read] = {
    name: partial(_read_for, replace(SPEC, observation_space=one.observation_space)) for name, one in LAYOUTS.items()
}
"""For each layout, how `wtl adapt` reads it for a model of its observations."""


def judge(case: Case, home: Path, read: Read = read_as_adapt) -> Verdict:
    """Run one case in a folder, which is empty again afterwards."""
    layout = LAYOUTS[case.format]
    if read is read_as_adapt:
        read = READERS[case.format]
    rng = np.random.default_rng(case.seed)
    selection = Selection(layout.observations, skip_bad=bool(rng.integers(4) == 0))
    tree, before = _whole(case.format, case.seed % N_WHOLE, selection, read)
    broken = home / "broken"
    broken.mkdir()
    try:
        applied, slips = [], []
        for name in (one for one in case.mutations if one not in FILES):
            found = near_name(tree, rng) if name == NEAR else TREES[name](tree, rng)
            if found is not None:
                applied.append(name)
                tree, slips = (found[0], [*slips, found[1]]) if isinstance(found, tuple) else (found, slips)
        try:
            source = layout.write(tree, broken)
        except Exception:
            return Verdict("not written")
        applied += [name for name in case.mutations if name in FILES and FILES[name](broken, rng)]
        return _verdict(layout, broken, applied, slips, before, lambda: read(source, selection))
    finally:
        for folder in home.iterdir():
            shutil.rmtree(folder)


@cache
def _whole(name: str, seed: int, selection: Selection, read: Read) -> tuple[Tree, Recorded]:
    """A recording that is not broken, as members and as it is read. Raises ValueError: that is not what it says."""
    layout = LAYOUTS[name]
    tree = layout.make(np.random.default_rng(seed))
    with TemporaryDirectory() as folder:
        before = read(layout.write(tree, Path(folder)), selection)
        if not _recording(before).same(layout.tell(layout.load(Path(folder)))):
            raise ValueError(f"a whole recording of {name} is not read as it is written")
    return tree, before


def _verdict(
    layout: Layout,
    folder: Path,
    applied: Sequence[str],
    slips: Sequence[Slip],
    before: Recorded,
    read: Callable[[], Recorded],
) -> Verdict:
    if not applied:
        return Verdict("not applied")
    harmless = HARMLESS.issuperset(applied)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            found = read()
    except (WatchTryLearnError, OSError) as error:
        return Verdict("failure", f"refused, though nothing was changed: {error}") if harmless else Verdict("error")
    except Exception:
        return Verdict("failure", traceback.format_exc(limit=-4))
    if _recording(found).same(_recording(before)) and harmless:
        return Verdict("as before")
    if harmless:
        return Verdict("failure", "changed, though the recording says the same")
    if found.skipped or _said(found) - _said(before):
        return Verdict("remark")
    return _silent(layout, folder, slips, found, before)


def _silent(layout: Layout, folder: Path, slips: Sequence[Slip], found: Recorded, before: Recorded) -> Verdict:
    """Judge what was read without an error and without a remark."""
    read = _recording(found)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = layout.load(folder)
            told = layout.tell(tree)
            for slip in slips:
                if not told.same(_told_without(layout, slip.undone(tree)) or told):
                    return Verdict("failure", f"{slip.new} was read past in silence, where {slip.old} is meant")
    except Exception as error:
        if read.same(_recording(before)) and not isinstance(error, Contradiction):
            return Verdict("as before")
        return Verdict("failure", f"read in silence, though it is damaged or says nothing plain ({error!r})")
    if not read.same(told):
        return Verdict("failure", "read in silence as something else than what it says")
    return Verdict("as before" if read.same(_recording(before)) else "as written")


def _told_without(layout: Layout, tree: dict[str, object]) -> Recording | None:
    try:
        return layout.tell(tree)
    except Contradiction:
        return None


def _recording(found: Recorded) -> Recording:
    episodes = (
        Told(observation_vectors(one.observations), one.actions, one.rewards, one.success) for one in found.episodes
    )
    return Recording(tuple(episodes), found.rate_hz)


def _said(found: Recorded) -> set[str]:
    return {f"{one.code}: {one.message}" for own in found.remarks for one in own}
