"""The tables of settings in docs/settings.md, from the fields of metalearn/config.py.

python .ci/settings_table.py     # write them
"""

from pathlib import Path

from metalearn.settings import Setting, settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
BEGIN, END = "<!-- settings: written by .ci/settings_table.py -->\n", "<!-- settings: end -->\n"


def tables() -> str:
    """A table for each section of the configuration, as Markdown."""
    sections: dict[str, list[Setting]] = {}
    for one in settings().values():
        sections.setdefault(one.name.rpartition(".")[0], []).append(one)
    head = "\n| setting | default | what it decides | a value is |\n|---|---|---|---|\n"
    return "\n".join(head.lstrip("\n") + "".join(map(_row, rows)) for rows in sections.values())


def with_tables(page: str) -> str:
    """The page with the tables as they should be. Raises ValueError: it has no place for them."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + tables() + END + rest.split(END)[1]


def _row(one: Setting) -> str:
    default = "" if one.set_by else one.shown_default if one.decided else f"`{one.shown_default}`"
    cells = (f"`{one.name}`", default, one.meaning, one.values)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
