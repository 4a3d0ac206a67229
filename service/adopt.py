"""Episodes in progress from before they were in the database: files of one step after another, taken in once."""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import msgpack

from service.codecs import decode_msgpack
from service.queries import StepTaken
from service.tape import Step, Tape

_FILE = re.compile(r"[0-9a-f]{24}")


def adopt(folder: Path, tape: Tape) -> None:
    """Move the steps of every `ADAPTATION/RECORDING.msgpack` in `folder` to the tape, and remove the folder."""
    for file in folder.glob("*/*.msgpack"):
        if _FILE.fullmatch(file.stem):
            for number, step in enumerate(_steps(file.read_bytes())):
                with suppress(StepTaken):  # taken in before, or finished
                    tape.add(file.stem, number, step)
    shutil.rmtree(folder, ignore_errors=True)


def _steps(content: bytes) -> Iterator[Step]:
    """Whole steps; one that a crash cut short was never answered."""
    for packed in msgpack.Unpacker(BytesIO(content), max_buffer_size=max(1, len(content))):
        observation, action, reward, post = decode_msgpack(packed, max_containers=16)
        yield Step(observation, action, reward, *(post or ()))
