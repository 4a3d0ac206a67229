"""Brings the episodes of a recording to another rate, and says so in a remark. The numbers are made in `resampling`."""

from collections import defaultdict
from dataclasses import replace

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats.selection import Recorded, Selection
from metalearn.data.quality import QualityWarning
from metalearn.data.resampling import flags_among, resample

_MOST = 1000  # times as many steps, or as few


def at_chosen_rate(recorded: Recorded, selection: Selection) -> Recorded:
    """The episodes at the rate that `selection` says, if it says one. Raises InvalidData: nobody knows their rate."""
    to_hz = selection.resample_hz
    rate_hz = recorded.rate_hz or selection.recorded_hz
    if to_hz is None or not recorded.episodes:
        return recorded
    if rate_hz is None:
        hint = "a rate that the recording says, or FROM:TO in Hz as in 50:20"
        raise InvalidData("resample", hint, f"{to_hz:g}, and no rate of the recording")
    if not 1 / _MOST <= to_hz / rate_hz <= _MOST:
        raise InvalidData("resample", f"at most {_MOST} times faster or slower than {rate_hz:g} Hz", f"{to_hz:g}")
    if to_hz == rate_hz:
        return replace(recorded, rate_hz=rate_hz)
    # Recordings may mix shapes, of which the spec that they are fitted to will say which one is wrong.
    alike: defaultdict[object, list[Episode]] = defaultdict(list)
    for one in recorded.episodes:
        alike[_layout(one)].append(one)
    flags = {layout: flags_among([one.observations for one in many]) for layout, many in alike.items()}
    episodes = tuple(resample(one, rate_hz, to_hz, flags=flags[_layout(one)]) for one in recorded.episodes)
    said = QualityWarning(
        "resampled",
        f"it was brought from {rate_hz:g} to {to_hz:g} Hz: states between two recorded ones are interpolated, "
        "continuous actions are means and rewards are sums over a step; pixels, flags and discrete actions are the "
        "nearest in time",
    )
    return replace(recorded, episodes=episodes, rate_hz=to_hz).remarked(said)


def _layout(episode: Episode) -> tuple[object, object]:
    return episode.observations.dtype, episode.observations.shape[1:]
