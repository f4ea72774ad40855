"""The commands that grade a class: grade, rubric check, nbgrader export."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from course_lib.cli.shared import app, command, guarded, say, show_table
from course_lib.errors import CourseError

if TYPE_CHECKING:
    from course_lib.grading.batch import Run
    from course_lib.grading.book import Line
    from course_lib.rubrics.exercise import Exercise

rubric = typer.Typer(help="Your own exercises.", no_args_is_help=True)
nbgrader = typer.Typer(help="The same grading inside nbgrader.", no_args_is_help=True)
app.add_typer(rubric, name="rubric")
app.add_typer(nbgrader, name="nbgrader")

Rubrics = Annotated[Path | None, typer.Option(help="A folder with rubric files and notebooks of your own.")]


@command
def grade(
    submissions: Annotated[Path, typer.Argument(help="A folder or zip with a notebook, folder or zip per learner.")],
    out: Annotated[Path, typer.Option(help="Where the grade book and the reports lie.")] = Path("grades"),
    jobs: Annotated[int, typer.Option(help="How many answers run at the same time.", min=1, max=256)] = 2,
    dask: Annotated[str | None, typer.Option(help="A Dask scheduler, such as tls://host:8786.")] = None,
    require_isolation: Annotated[
        str | None, typer.Option(help="full, kernel or process: refuse to grade at a lower level.")
    ] = None,
    rubrics: Rubrics = None,
    lessons: Annotated[list[str] | None, typer.Option("--lesson", help="Only this lesson; may be repeated.")] = None,
    regrade: Annotated[
        list[str] | None,
        typer.Option(help="A learner, an exercise, or learner:2.1, to grade again with the same seed."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of a new grade book; drawn if left out.", min=0)] = None,
    seconds: Annotated[float, typer.Option(help="How long one answer may run.", min=1)] = 30,
    megabytes: Annotated[int, typer.Option(help="How much memory one answer may use.", min=64)] = 1024,
    plain: Annotated[bool, typer.Option("--plain", help="Start a new sandbox for each submission; slower.")] = False,
) -> None:
    """Grade what a class handed in, each answer isolated from everything else.

    What has a grade already is not graded again, unless the submission changed or --regrade asks for it. Stop it
    whenever you like: the same command goes on where it stopped.
    """
    from course_lib.grading.classroom import Request, grade_class

    exercises, declared = known_exercises(rubrics)
    request = Request(
        submissions, out, exercises, declared, lessons or (), regrade or (), seed, seconds, megabytes
    )  # fmt: skip
    if dask:
        from course_lib.grading.cluster import on_dask

        workers = on_dask(dask, level=require_isolation, rubrics=rubrics, note=say)
    else:
        workers = here(require_isolation, jobs, exercises, warm=not plain)
    group = grade_class(request, workers, note=say, progress=with_bar)
    rows = [(bar.label, bar.note) for bar in hardest_of(group)]
    show_table(f"{len(group.learners)} learners", ("Exercise", "Not passed"), rows)
    say(f"The reports lie in {out}: class.html, grades.csv, canvas.csv, moodle-*.csv, grades.json, learners/.")
    tell_what_failed(group)


def known_exercises(rubrics: Path | None) -> tuple[dict[str, "Exercise"], dict[str, tuple[str, ...]]]:
    """The course's exercises and those in a folder; and the set-up cells of the folder's notebooks."""
    from course_lib.grading.private import declared_in, exercises_in
    from course_lib.grading.submissions import course_exercises

    course = course_exercises()
    own = exercises_in(rubrics, course) if rubrics else {}
    return {**course, **own}, declared_in(rubrics, own) if rubrics else {}


@contextmanager
def here(level: str | None, jobs: int, exercises: dict[str, "Exercise"], *, warm: bool) -> Iterator["Run"]:
    """Sandboxes on this machine; says at which level, and what a lower one means."""
    from course_lib.grading import isolation
    from course_lib.grading.batch import by_submission, in_threads
    from course_lib.grading.runner import Runner

    with Runner(level, warm=warm, exercises=exercises) as runner:
        say(f"Isolation: {runner.level}.")
        if runner.level != "full":
            found = isolation.probe()
            say(" ".join(filter(None, ["That is not the strictest level.", found.reason, found.remedy])))
        yield in_threads(runner.run, jobs) if warm else by_submission(runner.run_submission, jobs)


def with_bar(lines: Iterable["Line"], total: int) -> Iterator["Line"]:
    """The lines as they come, with a bar that estimates the time that is left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("Grading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=total)
        for line in lines:
            bar.advance(task)
            yield line


def hardest_of(group: object) -> list:
    """The exercises, those that most have not passed first."""
    from course_lib.grading.pages import hardest

    return hardest(group)


def tell_what_failed(group: object) -> None:
    """Name the submissions that could not be read, and end with status 1 where the grader itself failed."""
    marks = [(learner, mark) for learner in group.learners for mark in learner.marks]
    unread = dict.fromkeys(learner.key for learner, mark in marks if mark.status == "bad notebook")
    if unread:
        say(f"{len(unread)} could not be read: {', '.join(unread)}. Their pages say why.")
    failed = [f"{learner.key} {mark.exercise.id}" for learner, mark in marks if mark.status == "grader error"]
    if failed:
        raise CourseError(
            f"{len(failed)} grades are missing because the grader failed: {', '.join(failed[:10])}. Run the same command "
            "again; grades.json says what happened."
        )


@rubric.command("check")
@guarded
def rubric_check(
    folder: Annotated[Path, typer.Argument(help="The folder with your rubric files and notebooks.")],
) -> None:
    """Try your own exercises: the reference passes, the stub is not attempted, every known mistake is rejected and named."""
    from course_lib.grading.private import check_rubrics
    from course_lib.grading.submissions import course_exercises

    found = check_rubrics(folder, course_exercises())
    rows = [(one.exercise, one.what, "NO" if one.trouble else "ok", one.trouble) for one in found]
    show_table(str(folder), ("Exercise", "What", "", "Why"), rows)
    if any(one.trouble for one in found):
        raise typer.Exit(1)
    say("Everything is as it should be.")


@nbgrader.command("export")
@guarded
def nbgrader_export(
    folder: Annotated[Path, typer.Argument(help="The course folder for nbgrader; made if it does not exist.")],
    lessons: Annotated[list[str] | None, typer.Option("--lesson", help="Only this lesson; may be repeated.")] = None,
) -> None:
    """Write a course folder that nbgrader takes as it is, graded by our isolated preprocessor."""
    from course_lib.grading.nbgrader import export

    for path in export(folder, lessons or ()):
        say(f"{path} written")
    say(f"Next: cd {folder}, then nbgrader generate_assignment for each of them, as docs/teaching.md says.")
