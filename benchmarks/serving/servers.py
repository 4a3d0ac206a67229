"""The servers that benchmarks/serve.py measures: python -m benchmarks.serving.servers KIND PORT FOLDER RUNTIME.

service   ours          service-slow   ours, with a model whose forward pass takes a millisecond
service-narrow   the same with room for 32 waiting requests
echo      the limit: the same stack (uvicorn, FastAPI, the same codecs), a body decoded and an answer encoded
bare      nothing but a WebSocket, by the library that ours uses: it reads no frame, and its answers are as long as ours
plain     a WebSocket policy server as openpi's is: one request at a time, the model on the event loop; plain-slow
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect

from metalearn.bundle import Bundle
from metalearn.data.context import Context
from service.app import create_app
from service.codecs import CODECS, decode, decode_msgpack, encode_msgpack
from service.event_loop import new_event_loop
from service.inference import Runtime, factory_of
from service.server import _run
from service.settings import SHIPPED_MODELS, Settings

ZERO = np.zeros((1, 2), np.float32)
TIMING = {"decode_ms": 0.01, "queue_ms": 0.01, "infer_ms": 0.01, "total_ms": 0.03}


class Slow:
    """A model whose pass takes a millisecond more, however many rows it has, as on an accelerator."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.infer_belief, self.conditioning, self.update = runtime.infer_belief, runtime.conditioning, runtime.update
        self.adapts_online = runtime.adapts_online

    def act(self, conditionings: Any, observations: Any) -> Any:
        time.sleep(1e-3)
        return self._runtime.act(conditionings, observations)


def load(runtime: str, slow: bool) -> Any:
    factory = factory_of(runtime)  # type: ignore[arg-type]
    return (lambda bundle: Slow(factory(bundle))) if slow else factory


def service(port: int, folder: Path, runtime: str, slow: bool, queue_size: int = 1024) -> None:
    models = folder / "models"  # where there is none, the models that are shipped
    settings = Settings(
        port=port,
        data=folder,
        models=models if models.exists() else SHIPPED_MODELS,
        rate="1000000000/minute",
        max_adaptations=10_000_000,
        queue_size=queue_size,
    )
    _run(create_app(settings, runtime_factory=load(runtime, slow)), settings)


def echo(port: int) -> None:
    app = FastAPI()

    @app.post("/act")
    async def act(request: Request) -> Response:
        media_type = request.headers["content-type"]
        decode(media_type, await request.body(), 1 << 20, 1000)
        return Response(CODECS[media_type].encode({"actions": ZERO, "server_timing": TIMING}), 200, {}, media_type)

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_bytes(encode_msgpack({}))
        try:
            while True:
                decode_msgpack(await socket.receive_bytes(), 1000)
                await socket.send_bytes(encode_msgpack({"actions": ZERO, "server_timing": TIMING}))
        except WebSocketDisconnect:
            pass

    uvicorn.run(
        app, port=port, log_level="error", access_log=False, ws="websockets-sansio", ws_per_message_deflate=False
    )


def bare(port: int) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    answer = encode_msgpack({"actions": ZERO, "server_timing": TIMING})

    class Answering(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(WSMsgType.BINARY, encode_msgpack({}))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                transport.send(WSMsgType.BINARY, answer)
            elif frame.msg_type == WSMsgType.CLOSE:
                transport.send_close()
                transport.disconnect()

    async def main() -> None:
        server = await ws_create_server(lambda _: Answering(), "127.0.0.1", port)
        await server.serve_forever()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def plain(port: int, runtime: str, slow: bool) -> None:
    from openpi_client import msgpack_numpy
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    bundle = Bundle.load(SHIPPED_MODELS / "reach")
    model = load(runtime, slow)(bundle)
    example = bundle.spec.example_episode(np.random.default_rng(0))
    belief = model.infer_belief([Context((example,))])[0]
    conditioning = model.conditioning(belief, belief.map_hypothesis)[None]

    async def handle(socket: ServerConnection) -> None:
        packer = msgpack_numpy.Packer()
        await socket.send(packer.pack({}))
        try:
            while True:
                started_s = time.monotonic()
                observation = msgpack_numpy.unpackb(await socket.recv())["observation"]
                infer_s = time.monotonic()
                actions = model.act(conditioning, observation[None])
                timing = {"infer_ms": (time.monotonic() - infer_s) * 1e3, "total_ms": time.monotonic() - started_s}
                await socket.send(packer.pack({"actions": actions, "server_timing": timing}))
        except ConnectionClosed:
            pass

    async def main() -> None:
        async with serve(handle, "127.0.0.1", port, compression=None, max_size=None):
            await asyncio.Future()

    asyncio.run(main())


if __name__ == "__main__":
    kind, where, home, chosen = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if kind == "echo":
        echo(where)
    elif kind == "bare":
        bare(where)
    elif kind.startswith("plain"):
        plain(where, chosen, kind.endswith("slow"))
    elif kind == "service-narrow":
        service(where, home, chosen, True, queue_size=32)
    else:
        service(where, home, chosen, kind.endswith("slow"))
