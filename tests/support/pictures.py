"""What can be wrong with a picture that a person would see at once: words on words, on lines, or cut off."""

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK_PX = 1.0


def faults_of(figure: Figure) -> list[str]:
    """One sentence per fault of a drawn figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    words = [(text, _box(text)) for text in texts_of(figure)]
    found = [f"{_said(text)} is cut off at the edge" for text, box in words if not _inside(box, figure.bbox)]
    found += [f"{_said(a)} lies on {_said(b)}" for (a, p), (b, q) in combinations(words, 2) if _overlap(p, q)]
    for axes in figure.axes:
        for drawn in lines_of(axes):
            found += [f"a line crosses {_said(text)}" for text, box in words if _crosses(drawn, box)]
        found += [f"a bar's edge crosses {_said(text)}" for text, box in words if _cut_by_a_bar(axes, box)]
        found += missing_from(figure, axes)
    if not figure.get_suptitle():
        found.append("the picture has no headline")
    return sorted(set(found))


def texts_of(figure: Figure) -> list[Text]:
    """All words that can be seen; ticks outside of the limits cannot."""
    hidden = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in _all_ticks(axis)}
    shown = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in tick_labels(axes, axis)}
    seen = [text for text in figure.findobj(Text) if text not in hidden or text in shown]
    return [text for text in seen if text.get_visible() and text.get_text().strip()]


def _all_ticks(axis: Any) -> Iterator[Text]:
    for tick in (*axis.majorTicks, *axis.minorTicks):
        yield from (tick.label1, tick.label2)
    yield axis.offsetText


def tick_labels(axes: Axes, axis: Any) -> list[Text]:
    """The labels of an axis within its limits."""
    if not axes.get_visible() or not axes.axison:
        return []
    low, high = sorted(axis.get_view_interval())
    span = 1e-9 * max(abs(low), abs(high), 1.0)
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    labels = [label for at, label in ticks if low - span <= at <= high + span and label.get_text()]
    return [label for label in labels if label.get_visible()]


def lines_of(axes: Axes) -> Iterator[np.ndarray]:
    """The pixels of every visible line, a point each, clipped as it is drawn. Arrows of labels are lines too."""
    grid = [line for axis in (axes.xaxis, axes.yaxis) for line in axis.get_gridlines() if line.get_visible()]
    for line in [*axes.lines, *grid]:
        if line.get_visible() and line.get_linestyle() not in ("None", ""):
            pixels = line.get_transform().transform(line.get_xydata())
            yield from _clipped(line, axes, _dense(pixels))
        elif line.get_visible() and line.get_marker() not in ("None", None, ""):
            yield from _clipped(line, axes, line.get_transform().transform(line.get_xydata()))
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for segment in collection.get_segments():
                yield from _clipped(collection, axes, _dense(collection.get_transform().transform(segment)))
        elif isinstance(collection, PathCollection):
            yield from _clipped(collection, axes, axes.transData.transform(collection.get_offsets()))
    for text in axes.texts:
        arrow = getattr(text, "arrow_patch", None)
        if arrow is not None and arrow.get_visible():
            yield _dense(arrow.get_transform().transform(arrow.get_path().vertices))


def _dense(pixels: np.ndarray) -> np.ndarray:
    """A point for every pixel of a polyline; gaps at what is not finite."""
    parts = [np.empty((0, 2))]
    for a, b in pairwise(pixels):
        if np.isfinite([a, b]).all():
            n = int(min(np.abs(b - a).max(), 1e5)) + 2
            parts.append(np.linspace(a, b, n))
    return np.concatenate(parts)


def _clipped(artist: Artist, axes: Axes, pixels: np.ndarray) -> Iterator[np.ndarray]:
    pixels = pixels[np.isfinite(pixels).all(-1)]
    if artist.get_clip_on() and len(pixels):
        box = axes.get_window_extent()
        pixels = pixels[((pixels >= box.min - 1) & (pixels <= box.max + 1)).all(-1)]
    if len(pixels):
        yield pixels


def _crosses(pixels: np.ndarray, box: Bbox) -> bool:
    inner = (pixels > box.min + SLACK_PX) & (pixels < box.max - SLACK_PX)
    return bool(inner.all(-1).any())


def _cut_by_a_bar(axes: Axes, box: Bbox) -> bool:
    bars = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, Rectangle)]
    bars = [Bbox.intersection(bar, axes.get_window_extent()) for bar in bars]
    return any(bar is not None and _overlap(bar, box) and not _inside(box, bar) for bar in bars)


def missing_from(figure: Figure, axes: Axes) -> Iterator[str]:
    """Data that can be seen, and the names of both axes: its own, or those of axes beside or below it."""
    name = axes.get_title(loc="left") or axes.get_xlabel() or axes.get_ylabel() or "unnamed"
    if not _shows_data(axes):
        yield f"axes {name!r} show no data"
    own = axes.get_position()
    beside = [one for one in figure.axes if abs(one.get_position().y0 - own.y0) < 0.02]
    numeric = any(_is_number(label.get_text()) for label in tick_labels(axes, axes.yaxis))
    if numeric and not any(one.get_ylabel() for one in beside):
        yield f"axes {name!r} have numbers on y and no name for them"
    if tick_labels(axes, axes.xaxis) and not axes.get_xlabel():
        yield f"axes {name!r} have numbers on x and no name for them"
    if not (tick_labels(axes, axes.xaxis) or tick_labels(axes, axes.yaxis) or axes.get_title(loc="left")):
        yield f"axes {name!r} have neither numbers nor a title"


def _shows_data(axes: Axes) -> bool:
    images = [image for image in axes.get_images() if isinstance(image, AxesImage)]
    if any(np.isfinite(np.ma.filled(image.get_array(), np.nan)).any() for image in images):
        return True
    guides = [line for line in axes.lines if not line.get_transform().contains_branch(axes.transData)]
    data = [line for line in axes.lines if line not in guides and not _spans(line, axes)]
    points = [axes.transData.transform(line.get_xydata()) for line in data]
    points += [axes.transData.transform(one.get_offsets()) for one in axes.collections]
    box = axes.get_window_extent()
    return any(bool((np.isfinite(p) & (p >= box.min - 1) & (p <= box.max + 1)).all(-1).any()) for p in points if len(p))


def _spans(line: Line2D, axes: Axes) -> bool:
    """A guide of `axhline` or `axvline`: its ends are parts of the axes."""
    return line.get_transform() != axes.transData


def _is_number(text: str) -> bool:
    return text.replace("\N{MINUS SIGN}", "-").replace(",", "").lstrip("-").replace(".", "", 1).isdigit()


def _box(text: Text) -> Bbox:
    """Of the words alone: the window extent of an annotation holds its arrow too."""
    return Text.get_window_extent(text)


def _overlap(a: Bbox, b: Bbox) -> bool:
    width, height = np.minimum(a.max, b.max) - np.maximum(a.min, b.min)
    return bool(width > SLACK_PX and height > SLACK_PX)


def _inside(box: Bbox, of: Bbox) -> bool:
    return bool((box.min >= of.min - SLACK_PX).all() and (box.max <= of.max + SLACK_PX).all())


def _said(text: Text) -> str:
    return repr(text.get_text().replace("\n", " "))
