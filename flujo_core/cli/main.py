"""``flujo``: the commands put together, and what an error becomes: one sentence on stderr, and an exit code.

0: done. 1: the run failed. 2: the command or the configuration is wrong. 3: a plugin or a policy refused. 4: the run
cannot go on now. 130: interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from flujo_core.cli import (
    budget,
    bundle,
    check,
    compat,
    demo,
    diagram,
    history,
    pending,
    plugins,
    recover,
    removal,
    resume,
    run,
    runs,
    spec,
    store,
)
from flujo_core.cli.contributed import PluginCommands
from flujo_core.cli.session import Session, session
from flujo_core.errors import (
    AnswerError,
    ConfigurationError,
    DefinitionError,
    FlujoError,
    IncompatiblePipeline,
    InvalidValue,
    PluginError,
    RunBusy,
    RunExists,
    RunUnfinished,
    StoreRefused,
    UnknownAddress,
    UnknownRun,
)
from flujo_core.model.outcome import Veto
from flujo_core.model.result import RunRefused

INTERRUPTED = 130
WRONG = (
    AnswerError, ConfigurationError, DefinitionError, IncompatiblePipeline, RunExists, RunUnfinished, StoreRefused,
    UnknownAddress, UnknownRun,
)  # fmt: skip
"""What says that the command, the pipeline or the configuration is wrong."""

app = typer.Typer(
    name="flujo", cls=PluginCommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("resume")(resume.resume)
app.command("cancel")(resume.cancel)
app.command("check")(check.check)
app.command("diagram")(diagram.diagram)
runs.app.command("pending")(pending.pending)
runs.app.command("recover")(recover.recover)
runs.app.command("compat")(compat.compat)
runs.app.command("fork")(history.fork)
runs.app.command("replay")(history.replay)
runs.app.command("diff")(history.diff_runs)
runs.app.command("delete")(removal.delete_run)
runs.app.command("prune")(removal.prune_runs)
runs.app.command("erase")(removal.erase_runs)
runs.app.command("export")(bundle.export_run)
runs.app.command("import")(store.import_runs)
runs.app.command("verify")(bundle.verify)
app.add_typer(runs.app, name="runs")
app.add_typer(store.app, name="store")
app.add_typer(budget.app, name="budget")
app.add_typer(plugins.app, name="plugins")
app.add_typer(spec.app, name="spec")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flujo-core {version('flujo-core')}")
        raise typer.Exit


@app.callback()
def flujo(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    plugin: Annotated[
        list[str] | None, typer.Option("-P", metavar="no:NAME", help="Leave an installed plugin's distribution out.")
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Runs pipelines of steps and agents, and shows what became of them."""
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # it would stand in the middle of the progress
    found = session(context)
    found.debug, found.without = debug, plugin or []


def run_command(arguments: list[str]) -> int:
    """Runs one command.

    Returns:
        The exit code.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    own = Session()
    try:
        code = app(arguments, standalone_mode=False, obj=own)
    except TyperException as error:
        print(_usage(error.format_message()), file=sys.stderr)
        return 2
    except Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if own.debug:
            traceback.print_exc()
        else:
            print(f"flujo: {_sentence(error)}", file=sys.stderr)
        return _exit_code(error)
    if code == INTERRUPTED:  # typer has made an exit code of it
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _usage(message: str) -> str:
    """A wrong command line in one sentence; the help of a command that was given nothing, as it is."""
    if not message:
        return "flujo: name a command; 'flujo --help' lists them"
    return f"flujo: {message.rstrip('.')}; 'flujo --help' says what there is"


def _sentence(error: Exception) -> str:
    if isinstance(error, FlujoError):
        return " ".join(str(error).split())
    return f"unexpected {type(error).__name__}; run it again with 'flujo --debug ...' to see where"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, RunRefused | PluginError | Veto):
        return 3
    if isinstance(error, RunBusy):
        return resume.WAITS
    if isinstance(error, WRONG) or type(error) is InvalidValue:  # the input of a run that did not begin, or an answer
        return 2
    below = error.__cause__
    return 2 if below is not None and _is_set_up(below) else 1


def _is_set_up(error: BaseException) -> bool:
    return isinstance(error, ConfigurationError) or (error.__cause__ is not None and _is_set_up(error.__cause__))
