"""Options that several commands share."""

from typing import Annotated

import typer

Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Another seed than the usual one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
