"""The models folder: a folder of bundles, one bundle, or the folder of a run, which holds a bundle.

One bundle that cannot be used does not keep the others from being served. Knows no database and no runtime.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metalearn.bundle import Bundle, run_bundle
from metalearn.config import EVENT_LOG
from metalearn.data.errors import InvalidConfig

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_REASON = 300


@dataclass(frozen=True)
class ModelsFolder:
    """What a models folder holds.

    Attributes:
        bundles: the bundles, by the names of their folders; one that was named alone, by its own name.
        unusable: why others cannot be used, one sentence each without the path of the folder.
        alone: True if the folder is one bundle.
    """

    bundles: Mapping[str, Bundle]
    unusable: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False

    @classmethod
    def read(cls, folder: Path) -> "ModelsFolder":
        """Read the bundles in `folder`, or the one that it is.

        Raises:
            InvalidConfig: there is no such folder, it is a run without a bundle, or the one bundle cannot be used.
        """
        alone = run_bundle(folder)
        if alone is not None:
            bundle = Bundle.load(alone)
            check_name(bundle.name)
            return cls({bundle.name: bundle}, alone=True)
        if not folder.is_dir():
            raise InvalidConfig(f"no folder of models at {folder}")
        if (folder / EVENT_LOG).exists():
            raise InvalidConfig(f"{folder} is the folder of a run that has no bundle yet: name a folder of bundles")
        bundles, unusable = {}, {}
        for path in _candidates(folder):
            try:
                check_name(path.name)
                bundles[path.name] = Bundle.load(run_bundle(path) or path)
            except InvalidConfig as error:
                unusable[path.name] = reason(error, folder)
        return cls(bundles, unusable)


def reason(error: Exception, folder: Path) -> str:
    """Say why a bundle cannot be used, without the path of the models folder."""
    text = str(error) if isinstance(error, InvalidConfig) else f"it cannot be loaded: {type(error).__name__}: {error}"
    return " ".join(text.replace(f"{folder}/", "").split())[:_LONGEST_REASON]


def check_name(name: str) -> None:
    """Raise InvalidConfig unless a model can have this name."""
    if not NAME.fullmatch(name):
        raise InvalidConfig(f"{name!r} cannot name a model: use letters, digits, dots, dashes and underscores")


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield what is a bundle, or may have been meant to be: a folder with anything in it, or a link to no folder."""
    for path in sorted(folder.iterdir()):
        if path.name[0] not in "._" and not _is_empty(path):
            yield path


def _is_empty(path: Path) -> bool:
    """Return True for a folder without anything in it, and for a file, such as a README."""
    try:
        return not any(path.iterdir())
    except NotADirectoryError:
        return True
    except OSError:
        return False  # reading it says why
