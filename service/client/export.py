"""Exported adaptations: reading an archive and checking it against its manifest."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidBytes
from metalearn.data.reading import parse_json, refuse_pointer

if TYPE_CHECKING:
    from metalearn.data.spec import Spec

_SCHEMA = 1
_EPISODES, _POLICY, _REMEMBER = "episodes.safetensors", "policy.onnx", "remember.onnx"
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Export:
    """One version of an adaptation, to be run without a server.

    Attributes:
        manifest: ids, hypotheses, and the inputs and outputs of the policy.
        spec: the spec of the model.
        context: the episodes.
        policy: the self-contained ONNX file; None if it was exported without one.
        remember: the ONNX file that says what a step adds to the input `effects` of the policy; None if there is none.
        archive: the whole archive, as the server sent it.
    """

    manifest: Mapping[str, Any]
    spec: "Spec"
    context: Context
    policy: bytes | None = field(repr=False)
    archive: bytes = field(repr=False)
    remember: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, archive: bytes) -> Self:
        """Read the bytes of an archive. Raises InvalidData, InvalidConfig if it is invalid or damaged."""
        from metalearn.data.formats import decode_safetensors
        from metalearn.data.spec import Spec

        refuse_pointer(archive, "export")
        try:
            with zipfile.ZipFile(BytesIO(archive)) as file:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist()):
                    raise InvalidBytes("export", "stored files", "compressed ones")
                manifest = parse_json(file.read("manifest.json"), "manifest.json")
                if manifest["schema"] != _SCHEMA:
                    raise InvalidBytes("export", f"schema {_SCHEMA}", ascii(manifest["schema"])[:40])
                members = {name: _checked(name, file.read(name), sha) for name, sha in manifest["sha256"].items()}
            spec, body = Spec.from_json(manifest["spec"]), decode_safetensors(members[_EPISODES])
            ask = Ask.from_json(body.get("ask"))
            context = Context(_episodes(body, "demos", spec), _episodes(body, "trials", spec), ask)
        except InvalidBytes:
            raise
        except _DAMAGE as error:
            raise InvalidBytes("export", "the archive of an adaptation", ascii(str(error))[:120]) from error
        return cls(manifest, spec, context, members.get(_POLICY), archive, members.get(_REMEMBER))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read an archive from a file. Raises InvalidData, InvalidConfig, OSError."""
        return cls.of(Path(path).read_bytes())

    def write(self, path: str | Path) -> None:
        """Write the archive to a file. Raises OSError."""
        Path(path).write_bytes(self.archive)


def _checked(name: str, content: bytes, digest: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != digest:
        raise InvalidBytes(f"export: {ascii(name)[1:41]}", "what the manifest says", "another SHA-256")
    return content


def _episodes(body: Mapping[str, Any], role: str, spec: "Spec") -> tuple[Episode, ...]:
    return tuple(spec.fit(Episode.of(**one)) for one in body.get(role) or ())
