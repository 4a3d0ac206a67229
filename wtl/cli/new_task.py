"""`wtl new-task`: a family of tasks to begin with, which trains as it is."""

import keyword
import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from metalearn.data.errors import InvalidConfig
from wtl.new_task_files import FAMILY, TESTS
from wtl.next_lines import command


def new_task(
    name: Annotated[str, typer.Argument(help="Name of the family, such as doors or my-doors.")],
    out: Annotated[Path, typer.Option(help="Folder to write the two files to.")] = Path(),
) -> None:
    """Write a family of tasks: an environment with an expert, and its tests. It trains as it is; change it to yours.

    \b
    Examples:
      wtl new-task doors          # writes doors.py and test_doors.py
      wtl inspect doors:Doors     # what it shows, and what looks wrong
      wtl train --family doors:Doors
    """
    module = name.replace("-", "_").lower()
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,40}", name) or keyword.iskeyword(module):
        raise InvalidConfig(f"expected a name of letters, digits, '-' and '_', as in my-doors, got {name!r}")
    if module in {"wtl", "metalearn", "service"} or _is_taken(module, out):
        raise InvalidConfig(f"a module {module} exists already: choose another name than {name!r}")
    words = {"name": name.lower(), "module": module, "cls": "".join(word.title() for word in module.split("_"))}
    files = {out / f"{module}.py": FAMILY, out / f"test_{module}.py": TESTS}
    if there := [file for file in files if file.exists()]:
        raise InvalidConfig(f"{there[0]} is there already: choose another name, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    for file, template in files.items():
        file.write_text(Template(template).substitute(words))
        typer.echo(file)
    where = "" if out.resolve() == Path.cwd() else f"cd {out} && "
    family = f"{module}:{words['cls']}"
    typer.echo("\nWhat to type next:")
    typer.echo(f"  {where}{command('inspect', family)}")
    typer.echo(f"  {where}{command('train', '--family', family, '--steps', '300')}")


def _is_taken(module: str, out: Path) -> bool:
    """Whether `import module` would find something else than what is written to `out`."""
    from importlib.util import find_spec

    found = find_spec(module)
    return found is not None and found.origin != str((out / f"{module}.py").resolve())
