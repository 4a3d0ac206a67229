"""The pictures of an episode, and the one picture that shows all of it. A folder keeps them by the episode's digest.

The server stores numbers, not pictures: a film is what the person saw, kept on the person's side. An episode that has
none is drawn from its numbers. Knows no environment.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MAGIC = b"WTLFILM1"
QUALITY = 88
_IN_ONE = 24  # pictures that the one picture is made of
_CHANGED = 24  # of 255: what differs by less from the background belongs to it
_MOST_BYTES = 512 * 1024**2  # in the folder; the films that were seen longest ago go


def encode(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A picture as JPEG, sharp in its colours."""
    out = BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


@dataclass(frozen=True)
class Film:
    """The pictures of one episode as JPEG, `t + 1` of them, and one that shows the way through all of them."""

    pictures: tuple[bytes, ...]
    whole: bytes

    @classmethod
    def of(cls, pictures: list[bytes]) -> "Film":
        """Make a film of at least one picture."""
        return cls(tuple(pictures), encode(overlaid(pictures)))

    def cut(self, start: int, end: int) -> "Film":
        """The film of the steps `start` to `end`, without the last: `end - start + 1` pictures."""
        return Film.of(list(self.pictures[start : end + 1]))

    def to_bytes(self) -> bytes:
        """All pictures in one file: their number, their sizes, and then their bytes, the whole one first."""
        parts = (self.whole, *self.pictures)
        head = struct.pack(f"<{1 + len(parts)}I", len(parts), *map(len, parts))
        return b"".join((MAGIC, head, *parts))

    @classmethod
    def from_bytes(cls, content: bytes) -> "Film | None":
        """Read what `to_bytes` wrote; None if it is damaged."""
        try:
            (n,) = struct.unpack_from("<I", content, len(MAGIC))
            sizes = struct.unpack_from(f"<{n}I", content, len(MAGIC) + 4)
        except (struct.error, MemoryError):
            return None
        start = len(MAGIC) + 4 + 4 * n
        if not content.startswith(MAGIC) or n < 2 or start + sum(sizes) != len(content):
            return None
        ends = np.cumsum([start, *sizes]).tolist()
        parts = [content[a:b] for a, b in pairwise(ends)]
        return cls(tuple(parts[1:]), parts[0])


def overlaid(pictures: list[bytes]) -> UInt8[np.ndarray, "h w 3"]:
    """Everything that moved, over what stood still: earlier moments pale, the last one in full.

    What stands still is the median of the pictures.
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(_IN_ONE, len(pictures))).round().astype(int))
    frames = np.stack([np.asarray(Image.open(BytesIO(pictures[i])).convert("RGB")) for i in chosen])
    ground = np.median(frames, axis=0)
    out: np.ndarray[Any, Any] = ground.copy()
    for i, frame in enumerate(frames):
        moved = np.abs(frame - ground).max(-1, keepdims=True) > _CHANGED
        strength = 1.0 if i == len(frames) - 1 else 0.25 + 0.45 * i / max(1, len(frames) - 1)
        out = np.where(moved, (1 - strength) * out + strength * frame, out)
    return out.round().astype(np.uint8)


class FilmStore:
    """Films in a folder, by the digest of their episode."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, digest: str, film: Film) -> None:
        """Keep a film, and let the oldest ones go if there are too many. What cannot be written is not kept."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            written = self._path(digest).with_suffix(".part")
            written.write_bytes(film.to_bytes())
            written.replace(self._path(digest))
            self._tidy()
        except OSError:
            return

    def has(self, digest: str) -> bool:
        """Whether there is a film of that episode."""
        return self._path(digest).is_file()

    def load(self, digest: str) -> Film | None:
        """The film of an episode; None if there is none."""
        try:
            return Film.from_bytes(self._path(digest).read_bytes())
        except OSError:
            return None

    def _path(self, digest: str) -> Path:
        if not digest.isalnum():
            return self._folder / "none"
        return self._folder / f"{digest}.film"

    def _tidy(self) -> None:
        kept = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("*.film"))
        excess = sum(size for _, size, _ in kept) - _MOST_BYTES
        for _, size, path in kept:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size
