"""The event loop of a server: uvloop's, with aiofastnet's sockets (picows needs them too).

uvloop accepts one connection in each turn of the loop, after it has answered all that the open ones asked for in that
turn. Of 512 clients that came at once most waited for seconds to be accepted. aiofastnet accepts all of them at once.
"""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop, for uvicorn's setting `loop`; with Python's own sockets or loop where these are missing."""
    try:
        from uvloop import new_event_loop as new_loop
    except ImportError:
        from asyncio import new_event_loop as new_loop
    loop: asyncio.AbstractEventLoop = new_loop()
    try:
        from aiofastnet import patch_loop
    except ImportError:
        return loop
    return patch_loop(loop)
