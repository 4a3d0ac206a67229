"""Answers of a real server to hostile bytes: the corpus and N random mutations per format, over HTTP.

python benchmarks/hostile.py [--mutations 1000] [--seed 0] [--out benchmarks/results/hostile.json]

Fails unless every answer is below 500, every case of the corpus is refused as it should be, no file appeared outside
of the data folder, and the server still adapts. HDF5, which no server reads, goes to the reader of `wtl adapt`.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hostile_corpus
import httpx
import numpy as np

from metalearn.data.errors import WatchTryLearnError
from metalearn.data.formats import FORMATS, Limits, Selection, encode_npz, encode_safetensors, read_robomimic
from service.codecs import JSON, MSGPACK, encode_json, encode_msgpack

NPZ, SAFETENSORS = (str(FORMATS[kind].media_type) for kind in ("npz", "safetensors"))
ENCODERS = {JSON: encode_json, MSGPACK: encode_msgpack, NPZ: encode_npz, SAFETENSORS: encode_safetensors}
PATHS = [
    "/v1/adaptations/..%2f..%2f..%2fetc%2fpasswd", "/v1/adaptations/%00", "/v1/adaptations/" + "a" * 5000,
    "/v1/adaptations/%2e%2e", "/v1/models/..%2f..%2fetc", "/v1/models/reach/99999999999999999999",
    "/v1/models/%ff%fe", "/v1/adaptations/'; drop table adaptations; --", "/v1/adaptations?cursor=" + "A" * 4000,
    "/v1/adaptations?limit=1e400", "/v1/adaptations?cursor=%00", "/v1/adaptations/x/episodes/..%2f..%2fx/act",
]  # fmt: skip
LIMIT = hostile_corpus.BODY


class Tally:
    """Cases and statuses by kind; what should not have been is kept."""

    def __init__(self, http: httpx.Client) -> None:
        self.http, self.kinds, self.wrong = http, {}, []

    def post(self, kind: str, data: bytes, media_type: str, expected: int | None = None, **headers: str) -> None:
        answer = self.http.post("/v1/adaptations", content=data, headers={"Content-Type": media_type, **headers})
        self.note(kind, answer.status_code, expected)

    def note(self, kind: str, status: int | str, expected: int | str | None = None) -> None:
        self.kinds.setdefault(kind, Counter())[str(status)] += 1
        if (expected is not None and status != expected) or (isinstance(status, int) and status >= 500):
            self.wrong.append({"kind": kind, "status": status, "expected": expected})

    def rows(self) -> list[dict[str, Any]]:
        return [
            {"kind": kind, "cases": sum(found.values()), "statuses": dict(sorted(found.items()))}
            for kind, found in self.kinds.items()
        ]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled, or put where they do not belong."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 6])):
        at, n = rng.randrange(len(out) + 1), rng.randint(1, 16)
        match rng.randrange(5):
            case 0 if at < len(out):
                out[at] = rng.randrange(256)
            case 1 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                del out[at : at + n]
            case 3:
                out[at:at] = out[at : at + n]
            case _:
                out[at:at] = rng.choice(
                    [b"\xff" * 8, b"\0" * 8, b"[" * n, b"{", b"PK\x01\x02", b"\xdd\xff\xff\xff\xff"]
                )
    return bytes(out) or b"\0"


def run_corpus(tally: Tally) -> None:
    corpora = {
        JSON: hostile_corpus.jsons(), MSGPACK: hostile_corpus.msgpacks(),
        NPZ: hostile_corpus.npz(), SAFETENSORS: hostile_corpus.safetensors(),
    }  # fmt: skip
    for media_type, corpus in corpora.items():
        for data, status in corpus.values():
            tally.post(f"corpus {media_type}", data, media_type, status)
            for other in set(ENCODERS) - {media_type}:
                tally.post("bytes of another format", data, other)
    for data, status in hostile_corpus.gzips(LIMIT).values():
        tally.post("corpus gzip", data, JSON, status, **{"Content-Encoding": "gzip"})
    bomb = hostile_corpus.zipped({"x.npy": hostile_corpus.npy(np.zeros(3 * LIMIT, np.uint8))})
    tally.post("corpus gzip", hostile_corpus.gzip_format.compress(bomb), NPZ, 413, **{"Content-Encoding": "gzip"})
    tally.post("too large", b"\0" * (LIMIT + 1), NPZ, 413)
    for path in PATHS:
        for method in ("GET", "DELETE", "POST"):
            tally.note("paths and queries", tally.http.request(method, path).status_code)


def run_mutations(tally: Tally, example: dict[str, Any], n: int, rng: random.Random) -> None:
    body = {"model": "reach", "demos": [example], "trials": [example | {"success": False}]}
    for media_type, encode in ENCODERS.items():
        data = encode(body)
        for _ in range(n):
            tally.post(f"mutations {media_type}", mutated(data, rng), media_type)


def run_hdf5(tally: Tally, folder: Path, n: int, rng: random.Random) -> None:
    """Each in a process of its own kind: a crash of the HDF5 library would be seen."""
    folder.mkdir()
    for path in hostile_corpus.hdf5(folder).values():
        tally.post("HDF5 over HTTP", path.read_bytes(), "application/x-hdf5", 415)
        tally.note("corpus HDF5, read here", read_here(path), "refused")
    whole = hostile_corpus.robomimic(folder / "sound.hdf5").read_bytes()
    paths = []
    for i in range(n):
        paths.append(folder / f"m{i}.hdf5")
        paths[-1].write_bytes(mutated(whole, rng))
    done = subprocess.run(
        [sys.executable, __file__, "--read", *map(str, paths)], check=False, capture_output=True, text=True
    )
    for outcome in done.stdout.split():
        tally.note("mutations HDF5, read here", outcome)
    if done.returncode:
        tally.note("mutations HDF5, read here", f"exit {done.returncode}", "0")


def read_here(path: Path) -> str:
    try:
        read_robomimic(path, Selection(("state",)), Limits(n_bytes=10**9))
    except WatchTryLearnError:
        return "refused"
    return "read"


def serve(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server of the shipped models that would write into `home` if it wrote anywhere."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("a/b/c", "tmp"):
        (home / name).mkdir(parents=True)
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(home / "tmp"), "WTL_MAX_BODY_BYTES": str(LIMIT)}
    environment |= {"WTL_DATA": str(home / "data"), "WTL_MAX_CONTAINERS": str(hostile_corpus.CONTAINERS)}
    command = [sys.executable, "-m", "wtl.cli", "serve", "--port", str(port)]
    root = Path(__file__).parents[1]
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    log = (home.parent / "server.log").open("wb")
    return subprocess.Popen(
        command, cwd=home / "a/b/c", env=environment, stdout=log, stderr=log
    ), f"http://127.0.0.1:{port}"


def strangers(home: Path) -> list[str]:
    """Files that the server made, but for those in its data folder."""
    return [str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and not p.is_relative_to(home / "data")]


def resident_mb(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main(n: int, seed: int, out: Path) -> int:
    rng, began_s = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        server, url = serve(home)
        try:
            with httpx.Client(base_url=url, timeout=60) as http:
                while True:
                    assert server.poll() is None, (Path(name) / "server.log").read_text()
                    try:
                        http.get("/readyz").raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.2)
                example = http.get("/v1/models/reach").json()["example"]
                example = {k: np.array(v, np.float32) if isinstance(v, list) else v for k, v in example.items()}
                tally, before_mb = Tally(http), resident_mb(server.pid, "VmRSS")
                run_corpus(tally)
                run_hdf5(tally, Path(name) / "hdf5", n, rng)
                run_mutations(tally, example, n, rng)
                alive = http.post("/v1/adaptations", content=encode_npz({"model": "reach", "demos": [example]}),
                                  headers={"Content-Type": NPZ}).status_code  # fmt: skip
            peak_mb = resident_mb(server.pid, "VmHWM")
        finally:
            server.terminate()
            server.wait(timeout=30)
        outside = strangers(home)
    rows = tally.rows()
    report = {
        "cases": sum(row["cases"] for row in rows),
        "kinds": rows,
        "wrong": tally.wrong,
        "files_outside_the_data_folder": outside,
        "adapts_afterwards": alive == 201,
        "rss_mb": {"before": round(before_mb), "peak": round(peak_mb)},
        "seed": seed,
        "wall_s": round(time.monotonic() - began_s, 1),
    }
    for row in rows:
        print(f"{row['cases']:6d}  {row['kind']:32} {row['statuses']}")
    print(f"{report['cases']} cases, {len(tally.wrong)} wrong, {len(outside)} files outside, peak {peak_mb:.0f} MB")
    out.write_text(json.dumps(report, indent=1) + "\n")
    return int(bool(tally.wrong or outside or alive != 201))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        for path in sys.argv[2:]:
            print(read_here(Path(path)), flush=True)
        sys.exit()
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "hostile.json")
    options = parser.parse_args()
    sys.exit(main(options.mutations, options.seed, options.out))
