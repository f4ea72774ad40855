"""What every notebook must be, apart from running: sized, described, and in the ten parts of a lesson."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring.sources import notebook_of
from course_lib.checking.answers import Checked
from course_lib.rubrics.exercise import rubric_of

REPOSITORY = Path(__file__).parents[1]
LESSONS = sorted((REPOSITORY / "lessons").glob("[0-9][0-9]_*.ipynb"))
EXERCISES = sorted((REPOSITORY / "exercises").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((REPOSITORY / "solutions").glob("[0-9][0-9]_*.ipynb"))
PARTS = ["Predict", "The idea", "Build it", "Play", "Evidence", "Where it fails", "In practice", "Quiz", "Next"]
each = lambda paths: pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def markdown(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def html_outputs(path: Path) -> str:
    outputs = [output for cell in read(path).cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)


@each(LESSONS + EXERCISES + SOLUTIONS)
def test_size_and_form(path: Path) -> None:
    """At most 500 KB, valid, no widget state."""
    assert path.stat().st_size <= 500_000
    notebook = read(path)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata


@each(LESSONS[1:])
def test_lesson_has_its_parts(path: Path) -> None:
    """The ten parts, in their order; the title strip is the first."""
    headings = re.findall(r"^## \d+ · (.+)$", markdown(path), flags=re.MULTILINE)
    assert headings == PARTS
    title = read(path).cells[0].source
    assert re.search(r"\*\*\d+ minutes", title)
    assert "you can" in title
    assert title.count("\n- ") == 3


def minutes_of(path: Path) -> int:
    """What the title strip promises."""
    return int(re.search(r"\*\*(\d+) minutes", markdown(path))[1])


@each(LESSONS)
def test_stated_time_is_plausible(path: Path) -> None:
    """150 words or 12 lines of code a minute, and five minutes of play, give or take two fifths."""
    code = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
    lines = [line for source in code for line in source.splitlines() if line.strip()]
    estimate = len(markdown(path).split()) / 150 + len(lines) / 12 + 5
    assert 0.6 * estimate <= minutes_of(path) <= 1.4 * estimate
    row = next(line for line in (REPOSITORY / "README.md").read_text().splitlines() if f"lessons/{path.name}" in line)
    assert row.split(" | ")[1] == str(minutes_of(path))


def test_the_time_for_the_whole_course_is_the_sum() -> None:
    """Lesson 00 and the README say how long it all takes."""
    hours = lambda minutes: ["nine", "ten", "eleven", "twelve", "thirteen", "fourteen"][round(minutes / 60) - 9]
    each_exercise = [re.findall(r"· (\d+) minutes ·", markdown(path)) for path in EXERCISES]
    told = f"about {hours(sum(map(minutes_of, LESSONS)))} hours of lessons, and {hours(sum(map(int, sum(each_exercise, []))))} of exercises"
    for place in (LESSONS[0], REPOSITORY / "README.md"):
        text = markdown(place) if place.suffix == ".ipynb" else place.read_text(encoding="utf-8")
        assert told in " ".join(text.split()).replace(">", "")


@each(LESSONS)
def test_cells_are_short_and_prose_is_brief(path: Path) -> None:
    """Cells of at most 15 lines; at most 1,500 words, optional sections not counted."""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 15, cell.source
            assert max(map(len, lines), default=0) <= 110, cell.source  # what a projector shows without scrolling
    required = re.sub(r"<details>.*?</details>", "", markdown(path), flags=re.DOTALL)
    assert len(required.split()) <= 1500


@each(LESSONS)
def test_lesson_has_one_widget(path: Path) -> None:
    """Its cell is tagged, and what it needs is tagged before it."""
    tagged = [cell.metadata.get("tags", []) for cell in read(path).cells]
    assert sum("widget" in tags for tags in tagged) == 1
    assert any("setup" in tags for tags in tagged)


def parts_of(stem: str) -> tuple[list[str], list[str]]:
    """The code cells of a lesson's source: those anybody runs, and those under a heading "Optional: …"."""
    parts, inside = ([], []), 0  # inside: the depth of the optional heading we are under
    for cell in notebook_of("lessons", stem, REPOSITORY).cells:
        heading = re.match(r"(#+) (Optional\b)?", cell.source) if cell.cell_type == "markdown" else None
        if heading and (not inside or len(heading[1]) <= inside):
            inside = len(heading[1]) if heading[2] else 0
        elif cell.cell_type == "code":
            parts[bool(inside)].append(cell.source)
    return parts


def names_in(cells: list[str]) -> tuple[set[str], set[str]]:
    """The global names that cells bind, and those that they read, in functions too."""
    bound, read = set(), set()
    tables = [symtable.symtable(source, "cell", "exec") for source in cells]
    while tables:
        table = tables.pop()
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if top and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            if symbol.is_referenced() and (top or symbol.is_global()):
                read.add(symbol.get_name())
        tables += table.get_children()
    return bound, read


@each(LESSONS)
def test_optional_parts_may_be_skipped(path: Path) -> None:
    """No cell outside of them needs a name that only they bind; every bet made outside is answered there, by a table."""
    required, optional = parts_of(path.stem)
    bets = re.findall(r"^(\w+) = predict\(", "\n".join(required), flags=re.MULTILINE)
    assert bets
    assert all(any(f"{bet}.reveal(" in cell for cell in required) for bet in bets)
    assert path.name.startswith("00_") or any("evidence(" in cell for cell in required)
    bound, read = names_in(required)
    assert not read & (names_in(optional)[0] - bound)
    assert not read - bound - set(dir(builtins)), "names that no cell binds"
    assert bool(optional) == path.name.startswith("04_")


@each(LESSONS)
def test_lesson_is_executed(path: Path) -> None:
    """Every code cell has run, and none left an error or a warning behind."""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.execution_count
            for output in cell.outputs:
                assert output.output_type != "error"
                assert output.get("name") != "stderr", output.get("text")


@each(LESSONS)
def test_figures_have_alt_text_and_captions(path: Path) -> None:
    """Every picture says what it shows, and none is larger than 40 KB."""
    text = html_outputs(path)
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(re.findall("<img", text)) == len(figures)
    for figure in figures:
        alt = re.search(r'alt="([^"]*)"', figure).group(1)
        caption = re.search(r"<figcaption><em>(.*?)</em>", figure, flags=re.DOTALL).group(1)
        data = re.search(r"base64,([^\"]*)", figure).group(1)
        assert len(alt) > 20
        assert len(caption) > 15
        assert len(data) * 3 / 4 <= 40_000
    if LESSONS.index(path) > 0:
        assert figures


@each(LESSONS)
def test_pictures_in_outputs_have_text(path: Path) -> None:
    """A bare PNG (a widget's static view) carries its description beside it."""
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                assert len(data.get("text/plain", "")) > 20
                assert len(data["image/png"]) * 3 / 4 <= 40_000


@each(LESSONS[1:])
def test_claims_are_shown(path: Path) -> None:
    """The table "paper says / measured here" is there, and every claim in it holds or is only reported."""
    text = html_outputs(path)
    assert "paper says" in text
    assert "measured here" in text
    assert "DOES NOT HOLD" not in text


@each(LESSONS + EXERCISES)
def test_headings_go_down_one_step_at_a_time(path: Path) -> None:
    """One title, no level left out: what a screen reader's list of headings shows."""
    text = re.sub(r"```.*?```", "", markdown(path), flags=re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, flags=re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    for before, after in zip(levels, levels[1:], strict=False):
        assert after <= before + 1


def statuses_of(path: Path) -> list[str]:
    """Run a notebook from top to bottom in this process, and collect what its checks say."""
    space, said = {"__name__": "__main__"}, []
    for cell in read(path).cells:
        if cell.cell_type == "code":
            *before, last = ast.parse(cell.source).body
            shown = isinstance(last, ast.Expr)
            exec(compile(ast.Module([*before, *([] if shown else [last])], []), path.name, "exec"), space)
            if shown:
                said.append(eval(compile(ast.Expression(last.value), path.name, "eval"), space))
    return [value.status for value in said if isinstance(value, Checked)]


@each(EXERCISES)
def test_untouched_exercises_run_and_are_not_attempted(path: Path) -> None:
    assert statuses_of(path) == ["not attempted"] * len(rubric_of(int(path.name[:2])).EXERCISES)


@each(SOLUTIONS)
def test_solutions_run_and_pass(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder, where what they write does no harm."""
    monkeypatch.chdir(tmp_path)
    assert statuses_of(path) == ["passed"] * len(rubric_of(int(path.name[:2])).EXERCISES)


@each(EXERCISES)
def test_exercise_notebook_is_unsolved(path: Path) -> None:
    """No outputs; each stub raises; each has difficulty, minutes and points, and a hint to ask for."""
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    stubs = [cell for cell in code if "small_nets" in cell.metadata]
    assert (2 if path.name.startswith("17_") else 3) <= len(stubs) <= 6  # the capstone's second is open-ended
    for cell in stubs:
        number = cell.metadata["small_nets"]["exercise"]
        assert f'raise NotImplementedError("Exercise {number}")' in cell.source
        assert cell.source.startswith(f"# Exercise {number}")
        assert '"""' in cell.source
        assert f'hint("{number}")' in markdown(path)
    assert len(re.findall(r"\*[A-Z][^*]* · \d+ minutes · \d+ points?\*", markdown(path))) == len(stubs)


def relative_luminance(colour: str) -> float:
    """WCAG's luminance of a colour like #0072B2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_are_seen_on_white() -> None:
    """Lines and bars: WCAG asks for 3:1 for graphics; the lighter ones are only used with an outline or a label."""
    from course_lib.viz import BLUE, CYCLE, GREEN, GREY, ORANGE

    for colour in (BLUE, ORANGE, GREEN, GREY):
        assert 1.05 / (relative_luminance(colour) + 0.05) >= 3
    assert len(set(CYCLE)) == len(CYCLE)
