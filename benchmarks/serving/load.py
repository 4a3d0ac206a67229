"""A load generator in a process of its own: closed loops over raw sockets, as cheap as Python makes them.

Each connection sends a ready-made request, waits for the whole answer, and sends again. Frames and heads are
written by hand so that the generator costs a fraction of what it measures. Knows nothing of this project.

    python load.py < plan.json > result.json

plan: {"url_host", "url_port", "seconds", "warmup_s", "rate_hz" (or null), "connections": [{"kind": "http" | "ws",
"head": base64 of the request that opens it ("" for http), "requests": [base64, ...]}]}
"""

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop


class Connection(asyncio.Protocol):
    """One closed loop."""

    def __init__(self, kind: str, head: bytes, requests: list[bytes], run: "Run") -> None:
        self._ws, self._head, self._requests, self._run = kind == "ws", head, requests, run
        self._buffer = bytearray()
        self._opened = False
        self._skip = 0  # frames that the server speaks before it is asked
        self._n = 0
        self._sent_s = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self._ws:
            transport.write(self._head)
        else:
            self._opened = True
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._run.over:
            self._run.statuses["lost"] += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._take():
            pass

    def _send(self) -> None:
        if self._run.over:
            return
        if (due_s := self._run.due()) > 0:
            asyncio.get_running_loop().call_later(due_s, self._now)
        else:
            self._now()

    def _now(self) -> None:
        self._sent_s = time.perf_counter()
        self.transport.write(self._requests[self._n % len(self._requests)])
        self._n += 1

    def _take(self) -> bool:
        """One whole answer out of the buffer, if there is one."""
        if not self._opened:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            if not self._buffer.startswith(b"HTTP/1.1 101"):
                self._run.statuses[self._buffer[9:12].decode()] += 1
                self.transport.close()
                return False
            del self._buffer[: end + 4]
            self._opened, self._skip = True, 1
            return True
        status = self._frame() if self._ws else self._answer()
        if status is None:
            return False
        if self._skip:
            self._skip -= 1
        else:
            self._run.note(status, self._sent_s)
        self._send()
        return True

    def _answer(self) -> str | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        at = self._buffer.find(b"ontent-length: ", 0, end)
        if at < 0:
            at = self._buffer.find(b"ontent-Length: ", 0, end)
        size = int(self._buffer[at + 15 : self._buffer.find(b"\r", at)]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return None
        status = self._buffer[9:12].decode()
        del self._buffer[: end + 4 + size]
        return status

    def _frame(self) -> str | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 127, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        opcode = buffer[0] & 15
        del buffer[: start + size]
        return {2: "200", 1: "text", 8: "closed"}.get(opcode, "control")


class Run:
    """State that all connections share."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.over = False
        self.statuses: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self._from_s = float("inf")
        self._gap_s = 1 / plan["rate_hz"] if plan.get("rate_hz") else 0.0
        self._next_s = 0.0

    def start(self, warmup_s: float) -> None:
        self._from_s = time.perf_counter() + warmup_s
        self._next_s = time.perf_counter()

    def due(self) -> float:
        """Seconds to wait so that all together keep to the rate."""
        if not self._gap_s:
            return 0.0
        now_s = time.perf_counter()
        self._next_s = max(self._next_s + self._gap_s, now_s - 1.0)
        return self._next_s - now_s

    def note(self, status: str, sent_s: float) -> None:
        now_s = time.perf_counter()
        if now_s >= self._from_s:
            self.statuses[status] += 1
            self.latencies_s.append(now_s - sent_s)


async def drive(plan: dict[str, Any]) -> dict[str, Any]:
    loop, run = asyncio.get_running_loop(), Run(plan)
    made = [
        Connection(c["kind"], base64.b64decode(c["head"]), [base64.b64decode(r) for r in c["requests"]], run)
        for c in plan["connections"]
    ]
    run.start(plan["warmup_s"])
    for one in made:
        await loop.create_connection(lambda one=one: one, plan["host"], plan["port"])
    run.start(plan["warmup_s"])
    await asyncio.sleep(plan["warmup_s"] + plan["seconds"])
    run.over = True
    for one in made:
        one.transport.close()
    await asyncio.sleep(0.05)
    times = sorted(run.latencies_s)
    n_good = run.statuses["200"]

    def quantile(q: float) -> float | None:
        return round(times[min(len(times) - 1, int(q * len(times)))] * 1e3, 4) if times else None

    return {
        "n": len(times),
        "per_s": round(n_good / plan["seconds"], 1),
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "statuses": dict(run.statuses),
    }


if __name__ == "__main__":
    json.dump(uvloop.run(drive(json.load(sys.stdin))), sys.stdout)
