"""The agreement between a server that can deliver frames by a call and a route that can answer them in that call.

A server that offers it puts a function under `DIRECT` in the extensions of a WebSocket's scope. After `accept`, the
route may give it a `TakeFrame`, and gets a `Reply`. Frames that are not taken come by `receive`, as ever. At most one
frame is at the route at a time, whichever way it went there, so answers are in the order of the frames.
"""

from collections.abc import Callable
from typing import Protocol

from starlette.types import Message

DIRECT = "wtl.direct_frames"
TakeFrame = Callable[[bytes], None]
"""Takes one binary frame. It, or what it starts, calls exactly one method of the `Reply`, once."""


class Reply(Protocol):
    """The way back from a frame that was taken."""

    def answer(self, data: bytes) -> None:
        """Answer the frame with a binary frame."""
        ...

    def pass_on(self, message: Message) -> None:
        """Leave the frame to the coroutine that waits in `receive`, which gets this message."""
        ...


class OfferDirect(Protocol):
    """What a server puts under `DIRECT`."""

    def __call__(self, make: Callable[[Reply], TakeFrame]) -> None:
        """Deliver binary frames to what `make` returns from now on."""
        ...
