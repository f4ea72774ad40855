"""The commands of teachers, authors and the curious: build, data, run."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.cli.shared import command, say


@command
def build(
    lessons: Annotated[list[str] | None, typer.Argument(help="Lessons, such as 02 05; all when left out.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what is stale. Takes seconds.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Execute again even where nothing changed.")] = False,
) -> None:
    """Write the notebooks from their sources in lessons/src and solutions/src (for authors)."""
    from course_lib import authoring

    lines = [*authoring.build(lessons or None, check=check, force=force), *draw_map(check=check)]
    for line in lines:
        say(line)
    if check and lines:
        raise typer.Exit(1)
    if not lines:
        say("Every notebook is what its source says.")


def draw_map(*, check: bool) -> list[str]:
    """Write the README's picture of the course, if it is not what the outline says; return what was done or is stale."""
    from course_lib.outline import course_map

    path = Path(__file__).parents[2] / "lessons" / "map.svg"
    if path.exists() and path.read_text(encoding="utf-8") == course_map() + "\n":
        return []
    if check:
        return ["lessons/map.svg is stale. Run: course build"]
    path.write_text(course_map() + "\n", encoding="utf-8", newline="\n")
    return ["lessons/map.svg written"]


@command
def data(
    name: Annotated[str, typer.Argument(help="digits, mnist, fashion_mnist, usps or cifar10.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep the files; COURSE_DATA or your cache if not given.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy the raw files from this folder: for rooms without a network.")
    ] = None,
) -> None:
    """Download a data set, verify it, and say what is in it. The digits need no download."""
    from course_lib import data as datasets
    from course_lib.cli import offline

    place = folder or datasets.data_folder()
    if source is not None:
        copied = offline.copy_raw_files(name, source, place)
        say(f"{copied} files copied from {source}.")
    dataset = datasets.load(name, folder=folder)
    say(str(dataset))
    say("The digits come with scikit-learn; no file was written." if name == "digits" else f"The files lie in {place}.")


@command
def run(
    lesson: Annotated[str, typer.Argument(help="The lesson, such as 05.")],
    data: Annotated[str, typer.Option(help="The data set, such as mnist.")],
    trials: Annotated[int, typer.Option(help="How many seeds.", min=1)] = 3,
    iterations: Annotated[int | None, typer.Option(help="Training steps, where the lesson offers them.", min=1)] = None,
    out: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("results"),
) -> None:
    """Run a lesson's experiment at the size of its paper.

    Each result is written as soon as it is measured. Stop with Ctrl-C whenever you like: the same command goes on
    where it stopped.
    """
    from course_lib.cli import runs

    experiment = runs.find_experiment(lesson)
    units = runs.units_of(experiment, data, trials=trials, iterations=iterations)
    path = out / f"{experiment.stem}-{data}.jsonl"
    say(runs.run(experiment.module, units, path, note=say))
    say(f"The results lie in {path}.")
