"""Names that a person chose: unknown ones are refused with the near one, and those of files fit every file system."""

import difflib
import re
from collections.abc import Collection, Iterable

from metalearn.data.errors import InvalidConfig, InvalidData

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def near(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that was probably meant: `actions` for `action` or `Actions`, `observations` for `obs`."""
    folded = {one.casefold(): one for one in known}
    wanted = name.casefold()
    if close := difflib.get_close_matches(wanted, folded, n=1, cutoff=likeness):
        return folded[close[0]]
    return next((one for text, one in folded.items() if len(wanted) > 2 and text.startswith(wanted)), None)


def refuse_unknown(given: Iterable[object], known: Collection[str]) -> None:
    """Do nothing if every name is known.

    Raises:
        InvalidData: naming the first unknown field, what there is, and the near name.
    """
    for name in given:
        if name not in known:
            meant = near(str(name), known)
            hint = f"; did you mean {meant}?" if meant else ""
            raise InvalidData(ascii(name).strip("'")[:80], f"one of {', '.join(known)}", f"an unknown field{hint}")


def check_file_names(what: str, names: Iterable[str]) -> None:
    """Do nothing if each of these names can be a file of its own, on file systems that ignore case too.

    Raises:
        InvalidConfig: a name with a slash, a dot in front or another odd character, or two that differ in case alone.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            expected = "1 to 64 letters, digits, dots, dashes and underscores, the first a letter or a digit"
            raise InvalidConfig(f"{what}: expected {expected}, got {name[:80]!a}")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise InvalidConfig(f"{what}: {other} and {name} would be one file where case does not count")
