"""Tables on the terminal whose names and ids can be copied whole, however narrow the terminal is."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Sequence[str]


def print_table(columns: Sequence[str], rows: Sequence[Row], *, whole: Collection[str] = ()) -> None:
    """Print rows under their columns. Where the output is no terminal, nothing is wrapped.

    Args:
        columns: the headings.
        rows: one text per column; nothing in it is markup.
        whole: columns that are neither cut nor wrapped, such as ids; the others are wrapped where they have to be.
    """
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(columns):
        width = max(len(line) for text in (name, *(row[i] for row in rows)) for line in (text.splitlines() or [""]))
        table.add_column(name, no_wrap=name in whole, min_width=width if name in whole else None, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(80, console.measure(table, options=console.options.update(width=100_000)).maximum))
    console.print(table, crop=False)
