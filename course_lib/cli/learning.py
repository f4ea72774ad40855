"""The commands of a learner: lab, doctor, check, progress."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.cli.shared import command, say, show_table
from course_lib.errors import CourseError


@command
def lab(
    folder: Annotated[Path, typer.Argument(help="Your own folder; made if it does not exist.")] = Path("my-course"),
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    port: Annotated[int | None, typer.Option(help="The port JupyterLab listens on.", min=1, max=65535)] = None,
    update_only: Annotated[bool, typer.Option("--update-only", help="Make or update the folder and stop.")] = False,
) -> None:
    """Open the course in JupyterLab, in a folder of your own.

    Lessons and exercises are copied into the folder. Run it again after an update of the course: notebooks that you
    did not edit get their new version, and what you wrote is never overwritten.
    """
    from course_lib.cli import jupyter
    from course_lib.workspace import update_workspace

    report = update_workspace(folder)
    for line in jupyter.told(report, folder):
        say(line)
    if not update_only:
        raise typer.Exit(jupyter.open_lab(folder.expanduser().resolve(), port=port, browser=browser))


@command
def doctor(
    folder: Annotated[Path, typer.Argument(help="Your own folder, as in course lab.")] = Path("my-course"),
) -> None:
    """Show what this machine has for the course, and how to get what is missing."""
    from course_lib.cli.doctor import examine

    rows = examine(folder)
    shown = [(row.what, "ok" if row.ok else ("MISSING" if row.needed else "no"), row.found, row.remedy) for row in rows]
    show_table("Small Nets on this machine", ("What", "", "Found", "How to get it"), shown)
    if any(row.needed and not row.ok for row in rows):
        raise CourseError("Something that the lessons need is missing; the last column says how to get it.")
    say("Everything the lessons need is here.")


@command
def check(
    notebook: Annotated[Path, typer.Argument(help="Your exercise notebook, such as my-course/exercises/02_….ipynb.")],
) -> None:
    """Run an exercise notebook from top to bottom and print its score.

    Neither the notebook nor your recorded progress is changed. The exit status is 0 if every exercise that is not
    optional passed.
    """
    from course_lib.cli.marks import marks_of

    marks = marks_of(notebook)
    rows = [(mark.exercise, mark.title, mark.status, mark.shown_points, mark.mistake or "") for mark in marks]
    show_table(notebook.name, ("Exercise", "Title", "Status", "Points", "Mistake"), rows)
    needed = [mark for mark in marks if not mark.optional]
    n_passed = sum(mark.status == "passed" for mark in needed)
    extra = sum(mark.points for mark in marks if mark.optional)
    more = f" and {extra:g} extra" if extra else ""
    say(f"{n_passed} of {len(needed)} passed, {sum(mark.points for mark in needed):g} points{more}.")
    raise typer.Exit(0 if n_passed == len(needed) else 1)


@command
def progress(
    lesson: Annotated[int | None, typer.Option(help="Only this lesson.", min=0)] = None,
) -> None:
    """Show which exercises you tried and passed."""
    from course_lib.checking.progress import store

    rows = [row for row in store().summary() if lesson is None or row["exercise"].startswith(f"{lesson}.")]
    if not rows:
        say("Nothing is recorded yet. Your first check in an exercise notebook will be.")
        return
    shown = [(row["exercise"], row["status"], f"{row['points']:g}", row["attempts"]) for row in rows]
    show_table("Your progress", ("Exercise", "Status", "Points", "Attempts"), shown)
    say(f"{sum(row['points'] for row in rows):g} points.")
