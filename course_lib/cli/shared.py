"""What every command shares: the application, the way a CourseError is told, and tables."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from course_lib.errors import CourseError

app = typer.Typer(
    name="course",
    help="Small Nets: learn to make neural networks small. Start with: course lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command; a CourseError in it is told in red, without a traceback, and ends with status 2."""
    return app.command()(guarded(function))


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """A command that tells a CourseError; for those of a group, which register themselves."""

    @wraps(function)
    def told(*args: object, **kwargs: object) -> None:
        try:
            function(*args, **kwargs)
        except CourseError as error:
            Console(stderr=True).print(Text(str(error), style="bold red"), soft_wrap=True)
            raise typer.Exit(2) from None

    return told


def say(text: str) -> None:
    """Print a line as it is, without markup and without breaking long paths."""
    Console().print(Text(text), soft_wrap=True)


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; cells are text, never markup."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"Small Nets {version('small-nets')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass
