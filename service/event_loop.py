"""The event loop of a server: uvloop's, with aiofastnet's sockets (picows needs them too).

uvloop accepts one connection in each turn of the loop, after it has answered all that the open ones asked for in that
turn. Of 512 clients that came at once most waited for seconds to be accepted. aiofastnet accepts all of them at once.
"""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the event loop, for uvicorn's setting `loop`; with Python's own sockets or loop where these are missing."""
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    try:
        from aiofastnet import patch_loop
    except ImportError:
        return loop
    return patch_loop(loop)
