"""The table of dataset formats in docs/intake.md and docs/compatibility.md, from metalearn/data/formats/table.py.

python .ci/formats_table.py     # write it
"""

from pathlib import Path

from metalearn.data.formats import FORMATS, DatasetFormat

_DOCS = Path(__file__).parents[1] / "docs"
PAGES = (_DOCS / "intake.md", _DOCS / "compatibility.md")
BEGIN, END = "<!-- formats: written by .ci/formats_table.py -->\n", "<!-- formats: end -->\n"


def table() -> str:
    """The table as Markdown."""
    names = ("kind", "what it is", "read with `--from`", "written", "as a request body", "needs")
    head = f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"
    return head + "".join(_row(one) for one in FORMATS.values())


def with_table(page: str) -> str:
    """The page with the table as it should be. Raises ValueError: it has no place for it."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def _row(one: DatasetFormat) -> str:
    read = [f"FILE{suffix}" for suffix in one.suffixes]
    read += [f"{one.name}:{place}" for place in one.path.split(" or ")]
    cells = (
        f"`{one.name}`",
        one.description,
        ", ".join(f"`{spelling}`" for spelling in read),
        "yes" if one.write else "",
        f"`{one.media_type}`" if one.media_type else "",
        f"`watch-try-learn[{one.extra}]`" if one.extra else "",
    )
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_table(page.read_text()))
