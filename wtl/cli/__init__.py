"""`wtl`, the command line: one module per group of commands, put together here and nowhere else.

What a command needs is imported when it runs, so that `wtl --help` answers at once. A user's mistake is one
sentence on standard error and exit code 2, never a traceback.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from metalearn.data.errors import WatchTryLearnError
from metalearn.data.extras import missing_library
from wtl.cli.adapt import act, adapt, check, convert
from wtl.cli.admin import audit, keys, migrate
from wtl.cli.cluster import rl_module, submit, tune
from wtl.cli.evaluate import benchmark, evaluate
from wtl.cli.export import export_adaptation
from wtl.cli.inspect import inspect
from wtl.cli.jobs import jobs
from wtl.cli.models import export, models
from wtl.cli.new_task import new_task
from wtl.cli.play import play
from wtl.cli.recognise import recognise
from wtl.cli.recordings import formats
from wtl.cli.serve import demo, serve
from wtl.cli.settings import settings
from wtl.cli.train import experiments, train
from wtl.threads import use_threads

app = typer.Typer(
    name="wtl",
    help="Watch, try, learn: meta-train a policy that learns new tasks from a demonstration and its own trials.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A group of verbs is a Typer of its own in its module: app.add_typer(group).
_COMMANDS = (
    new_task, inspect, train, evaluate, benchmark, serve, play, demo, adapt, act, recognise, check, convert, formats,
    export_adaptation, experiments, settings, export, migrate, audit, rl_module, submit, tune,
)  # fmt: skip
for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(keys)
app.add_typer(jobs)
app.add_typer(models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `wtl` and return its exit code."""
    sys.path.insert(0, str(Path.cwd()))  # where the user's own module:Class is
    try:
        use_threads()
        return app(args=arguments, prog_name="wtl", standalone_mode=False) or 0
    except typer.TyperException as error:
        sentence, code = error.format_message(), error.exit_code
    except WatchTryLearnError as error:
        sentence, code = str(error), 2
    except ImportError as error:
        sentence, code = str(missing_library(error)), 2
    except OSError as error:
        sentence, code = ": ".join(str(part) for part in (error.filename, error.strerror) if part), 2
    except (KeyboardInterrupt, typer.Abort):
        sentence, code = "interrupted", 130
    print(f"wtl: {sentence}", file=sys.stderr)  # noqa: T201
    return code


def _print_version(wanted: bool | None) -> None:
    if wanted:
        print(installed_version("watch-try-learn"))  # noqa: T201
        raise typer.Exit


@app.callback()
def _wtl(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = None,
) -> None:
    pass
