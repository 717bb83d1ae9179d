"""The front door: one command line, whose subcommands are whatever is installed.

`secagg` must not import its shells, and a hospital may install no server. So each package names its
commands as entry points of the group `secagg.commands`: a `typer.Typer` becomes a group of commands
(`secagg server start`), a plain function one command (`secagg demo`). A name with a dot adds a
command to another package's group: `budget.plan` is `secagg budget plan`. Nothing is imported
before it is asked for.

With `secagg.vectors.cli`, which reads and writes test vectors, this is all of `secagg` that touches
anything outside.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum, StrEnum
from importlib.metadata import EntryPoint, entry_points, version
from types import TracebackType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

GROUP = "secagg.commands"
"""The entry point group that packages register their commands in."""


class ExitCode(IntEnum):
    """What a command's exit status says; the same for every subcommand."""

    OK = 0
    FAILED_ROUND = 1
    USAGE = 2
    CONNECTION = 3
    """No connection, or the other side refused our identity."""
    TOO_FEW = 4
    """A deadline passed, or too few parties came."""
    BUG = 5
    BUDGET_REFUSED = 6


class Format(StrEnum):
    """How a command prints its result; the same choice for every subcommand."""

    TEXT = "text"
    JSON = "json"


class CommandError(Exception):
    """A command cannot do what it was asked: says what is wrong, and how to mend it.

    Also understood inside an `ExceptionGroup`, so a nursery needs no unwrapping.
    """

    def __init__(self, problem: str, remedy: str, exit_code: ExitCode) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy
        self.exit_code = exit_code


class _Commands(TyperGroup):
    """A group with its own commands and, by name, entry points, imported when looked up.

    The entry point ``budget.plan`` is the command ``plan`` of the group that ``budget`` names.
    """

    # What typer calls a context and a command has moved between its versions: hence Any.

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.installed: dict[str, EntryPoint] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        added = {name for name in self.installed if "." not in name}
        return [*super().list_commands(ctx), *sorted(added.difference(self.commands))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own, found = super().get_command(ctx, cmd_name), self.installed.get(cmd_name)
        if own is not None or found is None or "." in cmd_name:
            return own
        prefix = f"{cmd_name}."
        inner = {
            n.removeprefix(prefix): f for n, f in self.installed.items() if n.startswith(prefix)
        }
        return _load(cmd_name, found, inner)


def _load(
    name: str, found: EntryPoint, inner: Mapping[str, EntryPoint]
) -> TyperCommand | TyperGroup:
    """Import the command behind an entry point, or stand in for one that is not installed.

    ``inner``: what others add to it, if it is a group.
    """
    try:
        target = found.load()
    except ModuleNotFoundError as missing:
        return _stand_in(found.name.replace(".", " "), missing.name or found.module)
    if isinstance(target, typer.Typer):
        target.info.cls = _Commands
        group = _group(target)
        group.name = name
        group.installed.update(inner)
        return group
    return _command(name, target)


def _group(app: typer.Typer) -> _Commands:
    """The group that typer makes of ``app``, whose class is ``_Commands``."""
    group = get_group(app)
    if not isinstance(group, _Commands):
        raise TypeError(f"typer ignored the group class and made {type(group).__name__}")
    return group


def _command(
    name: str,
    function: Callable[..., object],
    *,
    summary: str | None = None,
    accept_anything: bool = False,
) -> TyperCommand:
    app = typer.Typer(add_completion=False)
    app.command(
        name,
        help=summary,
        add_help_option=not accept_anything,
        context_settings={
            "allow_extra_args": accept_anything,
            "ignore_unknown_options": accept_anything,
        },
    )(function)
    command = get_command(app)
    if not isinstance(command, TyperCommand):
        raise TypeError(f"one function makes one command, not {type(command).__name__}")
    return command


def _stand_in(name: str, module: str) -> TyperCommand:
    """A command that only says which module it would need."""

    def refuse() -> None:
        raise CommandError(
            f"`secagg {name}` needs the Python module `{module}`, which is not installed here.",
            "Install the whole of secagg with its dependencies, or run this command where it is.",
            ExitCode.USAGE,
        )

    return _command(name, refuse, summary=f"Not installed: {module}.", accept_anything=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"secagg {version('secagg')}")
        raise typer.Exit


def command_line(installed: Iterable[EntryPoint]) -> TyperGroup:
    """The root command over the given entry points; of equal names the first one holds."""
    app = typer.Typer(
        cls=_Commands,
        name="secagg",
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        _version: Annotated[
            bool,
            typer.Option(
                "--version", help="Print the version.", callback=_print_version, is_eager=True
            ),
        ] = False,
    ) -> None:
        """Secure aggregation for hospitals."""

    group = _group(app)
    for found in installed:
        group.installed.setdefault(found.name, found)
    return group


class _BugReport:
    """At the outermost edge: an exception nobody expected is a bug, with its own exit status.

    Frames and messages are printed, local variables never are: they may hold secrets.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            traceback.print_exception(error)
            typer.echo("This is a bug in secagg: please report it with the lines above.", err=True)
            raise SystemExit(ExitCode.BUG) from None


def main(
    arguments: Sequence[str] | None = None, installed: Iterable[EntryPoint] | None = None
) -> NoReturn:
    """Run the command line and exit with an `ExitCode`.

    `arguments` default to the process's own, `installed` to the entry points of `GROUP`.
    """
    commands = entry_points(group=GROUP) if installed is None else installed
    refusals: list[CommandError] = []
    with _BugReport():
        try:
            command_line(commands).main(
                args=list(sys.argv[1:] if arguments is None else arguments), prog_name="secagg"
            )
        except* CommandError as group:
            refusals.extend(_leaves(group))
    for refusal in refusals:
        typer.echo(f"secagg: {refusal.problem}\n{refusal.remedy}", err=True)
    raise SystemExit(refusals[0].exit_code if refusals else ExitCode.OK)


def _leaves(group: BaseExceptionGroup[CommandError]) -> list[CommandError]:
    """The errors in a group, however deeply nested, in order."""
    errors: list[CommandError] = []
    for error in group.exceptions:
        errors.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return errors
