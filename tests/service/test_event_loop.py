"""The event loop: clients that come together are accepted together."""

import asyncio
import socket
from contextlib import ExitStack

from service.event_loop import new_event_loop


def test_all_who_wait_are_accepted_in_one_turn_of_the_loop() -> None:
    """With uvloop's own sockets each turn accepts one of them, and answers all that were accepted before."""
    n_clients, accepted = 40, []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport)

    async def serve(listener: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(Server, sock=listener)
        with ExitStack() as stack:
            for _ in range(n_clients):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(5):  # accept, make the transport, call the protocol
                await asyncio.sleep(0)
            assert len(accepted) == n_clients
        server.close()
        for transport in accepted:
            transport.abort()

    loop = new_event_loop()
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=n_clients) as listener:
            loop.run_until_complete(serve(listener))
    finally:
        loop.close()
