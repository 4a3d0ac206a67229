"""Names that a person typed into a file: unknown ones are refused, with the known one that is near."""

import difflib
from collections.abc import Collection, Iterable

from metalearn.data.errors import InvalidData


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: `actions` for `action` or `Actions`, `observations` for `obs`."""
    folded = {one.casefold(): one for one in known}
    wanted = name.casefold()
    if close := difflib.get_close_matches(wanted, folded, n=1):
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
