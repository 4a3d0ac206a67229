"""The event loop of a server: uvloop's, with aiofastnet's sockets where it is installed (picows brings it along).

uvloop accepts one connection in each turn of the loop, after it has answered all that the open ones asked for in that
turn. Of 512 clients that come at once most waited for seconds to be accepted. aiofastnet accepts all of them at once.
"""

import asyncio

import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop, for uvicorn's setting `loop`."""
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    try:
        import aiofastnet
    except ImportError:
        return loop
    return aiofastnet.patch_loop(loop)
