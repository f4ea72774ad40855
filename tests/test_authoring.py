"""Text sources to notebooks: numbers, fences, links, execution, staleness, and no line of a solution in an exercise."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from course_lib import authoring
from course_lib.authoring.execution import clean, leaked_paths
from course_lib.authoring.sources import ROOT, notebook_of
from course_lib.errors import CourseError

LESSON = """\
# %% [markdown]
# # Lesson <<n>> (<<stem>>)

# %% tags=["widget"]
print(1 + 1)
"""
SOLVED = """\
# %% [markdown] tags=["solution-only"]
# ## About the answers

# %% [markdown] tags=["exercise-only"]
# ## What to do

# %% [markdown]
# Exercise <<n>>.1

# %% exercise=1
def double(x):
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    answer = x + x
    return answer
    ### END SOLUTION


def halve(x):
    if x:
        ### BEGIN SOLUTION
        return x / 2
        ### END SOLUTION
    return x

# %% tags=["hide-source"]
try:
    print(double(2))
except NotImplementedError as missing:
    print(missing)
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of two lessons, the second with exercises; nothing is built."""
    write(tmp_path, "lessons", "01_first", LESSON)
    write(tmp_path, "lessons", "02_second", LESSON)
    write(tmp_path, "solutions", "02_second", SOLVED)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same course, built once for the tests that only read it."""
    root = tmp_path_factory.mktemp("course")
    write(root, "lessons", "01_first", LESSON)
    write(root, "lessons", "02_second", LESSON)
    write(root, "solutions", "02_second", SOLVED)
    authoring.build(root=root)
    return root


def write(root: Path, folder: str, stem: str, text: str) -> None:
    path = root / folder / "src" / f"{stem}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def change(path: Path, edit) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    edit(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def copied(built: Path, folder: Path) -> Path:
    for path in built.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(built)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


# ---- from text to cells


def test_exercises_get_a_marker_a_stub_and_their_number(course: Path) -> None:
    notebook = notebook_of("exercises", "02_second", course)
    cell = notebook.cells[2]
    assert cell.metadata == {"small_nets": {"exercise": "2.1"}}
    assert cell.source == (
        '# Exercise 2.1\ndef double(x):\n    """Twice x."""\n'
        '    raise NotImplementedError("Exercise 2.1")\n\n\n'
        'def halve(x):\n    if x:\n        raise NotImplementedError("Exercise 2.1")\n    return x'
    )
    assert notebook.cells[1].source == "Exercise 2.1"
    assert all(not c.outputs and c.execution_count is None for c in notebook.cells if c.cell_type == "code")


def test_solutions_drop_the_fence_lines_only(course: Path) -> None:
    source = next(c.source for c in notebook_of("solutions", "02_second", course).cells if "double(x)" in c.source)
    assert source.startswith("# Exercise 2.1\n")
    assert "    answer = x + x\n    return answer\n\n" in source
    assert "SOLUTION" not in source and "NotImplemented" not in source


def test_tags_keep_a_cell_for_one_side(course: Path) -> None:
    texts = {
        kind: [c.source for c in notebook_of(kind, "02_second", course).cells] for kind in ("exercises", "solutions")
    }
    assert "## What to do" in texts["exercises"] and "## About the answers" not in texts["exercises"]
    assert "## What to do" not in texts["solutions"] and "## About the answers" in texts["solutions"]


def test_metadata_ids_and_placeholders_are_written_from_scratch(course: Path) -> None:
    notebook = notebook_of("lessons", "01_first", course)
    assert [cell.id for cell in notebook.cells] == ["01_first-0", "01_first-1", "01_first-2"]
    assert [dict(cell.metadata) for cell in notebook.cells] == [{}, {"tags": ["widget"]}, {}]
    assert notebook.cells[0].source == "# Lesson 1 (01_first)"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    hidden = notebook_of("exercises", "02_second", course).cells[3]
    assert hidden.metadata == {"tags": ["hide-source"], "jupyter": {"source_hidden": True}}
    nbformat.validate(notebook)


def test_the_last_cell_links_to_the_neighbours(course: Path) -> None:
    def links(kind: str, stem: str) -> str:
        return notebook_of(kind, stem, course).cells[-1].source

    assert "(02_second.ipynb)" in links("lessons", "01_first") and "exercises" not in links("lessons", "01_first")
    assert "(01_first.ipynb)" in links("lessons", "02_second")
    assert "(../exercises/02_second.ipynb)" in links("lessons", "02_second")
    assert "(../lessons/02_second.ipynb)" in links("exercises", "02_second")
    write(course, "solutions", "03_third", SOLVED)
    assert "(03_third.ipynb)" in links("exercises", "02_second")
    assert "(03_third.ipynb)" in links("solutions", "02_second")


def test_a_link_says_the_title_of_where_it_leads(course: Path) -> None:
    """Up to the colon; where a source has no such title, the words of its file's name."""
    links = lambda: notebook_of("lessons", "01_first", course).cells[-1].source
    assert "[02 second →]" in links()
    write(course, "lessons", "02_second", "# %% [markdown]\n# # 02 · Where SynFlow goes: why?\n")
    assert "[02 Where SynFlow goes →]" in links()
    assert "[← Lesson 02 Where SynFlow goes]" in notebook_of("exercises", "02_second", course).cells[-1].source


@pytest.mark.parametrize("head", ['"""About this file."""\n\n', "# About this file.\n\n", "# %%\n# A comment.\n\n"])
def test_text_before_the_first_cell_is_left_out(course: Path, head: str) -> None:
    plain = notebook_of("lessons", "01_first", course)
    write(course, "lessons", "01_first", head + LESSON)
    assert notebook_of("lessons", "01_first", course) == plain


def refused(course: Path, text: str, *, kind: str = "exercises", folder: str = "solutions") -> str:
    write(course, folder, "02_second", text)
    with pytest.raises(CourseError) as caught:
        notebook_of(kind, "02_second", course)
    assert f"{folder}/src/02_second.py" in str(caught.value)
    return str(caught.value)


OPEN, CLOSE = "    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (f"{OPEN}    return 1\n", "not closed"),
        (f"{OPEN}    a = 1\n{OPEN}    return 1\n{CLOSE}", "pair up"),
        (f"    return 1\n{CLOSE}", "pair up"),
        ("    # BEGIN SOLUTION\n    return 1\n    # END SOLUTION\n", "looks like a fence"),
        ("    return 1\n", "no fences"),
    ],
)
def test_fences_that_do_not_pair_are_refused(course: Path, body: str, word: str) -> None:
    message = refused(course, f"# %% [markdown]\n# Text\n\n# %% exercise=1\ndef f():\n{body}")
    assert word in message and "cell 2" in message


def test_fences_where_none_belong_are_refused(course: Path) -> None:
    assert "no exercise" in refused(course, f"# %%\ndef f():\n{OPEN}    return 1\n{CLOSE}")
    outside = "# %% exercise=1\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n"
    assert "outside a function" in refused(course, outside)
    fenced = f"# %% exercise=1\ndef f():\n{OPEN}    return 1\n{CLOSE}"
    assert "solutions/src" in refused(course, fenced, kind="lessons", folder="lessons")


def test_exercise_numbers_are_unique_and_numbers(course: Path) -> None:
    one = f"# %% exercise=1\ndef f():\n{OPEN}    return 1\n{CLOSE}\n"
    assert "both exercise 1" in refused(course, one + one)
    assert "exercise='a'" in refused(course, one.replace("=1\ndef", '="a"\ndef'))
    assert "code cell" in refused(course, "# %% [markdown] exercise=1\n# Text\n")


@pytest.mark.parametrize("header", ['# %% tag=["widget"]', "# %% tags=[widget]", '# %% tags="widget"', "# %% Title"])
def test_a_header_with_a_slip_is_refused(course: Path, header: str) -> None:
    assert "header" in refused(course, f"# %% [markdown]\n# Text\n\n{header}\nx = 1\n")


@pytest.mark.parametrize("stem", ["2_second", "02-second", "second", "02_Second"])
def test_a_source_needs_a_lesson_name(course: Path, stem: str) -> None:
    write(course, "lessons", stem, LESSON)
    with pytest.raises(CourseError, match="NN_topic.py"):
        authoring.check(root=course)


def test_two_sources_cannot_share_a_number(course: Path) -> None:
    write(course, "lessons", "02_again", LESSON)
    with pytest.raises(CourseError, match="number 02"):
        authoring.check(root=course)


def test_solution_source_is_the_solved_code(course: Path) -> None:
    source = authoring.solution_source("2.1", root=course)
    assert source.startswith("def double(x):") and "return answer" in source and "SOLUTION" not in source
    for unknown in ("2.9", "9.1", "x", ""):
        with pytest.raises(CourseError, match="no solution for exercise"):
            authoring.solution_source(unknown, root=course)


# ---- building


def test_build_executes_and_leaves_nothing_of_the_run(built: Path) -> None:
    lesson = read(built / "lessons" / "02_second.ipynb")
    assert lesson.cells[1].outputs[0].text == "2\n" and lesson.cells[1].execution_count == 1
    assert "execution" not in lesson.cells[1].metadata and "version" not in lesson.metadata.language_info
    assert read(built / "solutions" / "02_second.ipynb").cells[-2].outputs[0].text == "4\n"
    assert not any(c.get("outputs") for c in read(built / "exercises" / "02_second.ipynb").cells)
    assert authoring.check(root=built) == []
    assert not any(path.read_bytes().count(b"\r") for path in built.rglob("*.ipynb"))


def test_an_unchanged_source_is_not_built_again(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copied(built, tmp_path)
    monkeypatch.setattr("course_lib.authoring.building.execute", lambda *a, **k: pytest.fail("executed"))
    assert authoring.build(root=root) == []
    write(root, "lessons", "01_first", LESSON.replace("# # Lesson", "# # A lesson"))
    assert authoring.build(["1"], root=root) == ["lessons/01_first.ipynb written"]
    assert read(root / "lessons" / "01_first.ipynb").cells[1].outputs[0].text == "2\n"  # carried over, not executed
    assert authoring.build(root=root, check=True) == []


def test_changed_code_and_force_execute_again(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, ran = copied(built, tmp_path), []
    monkeypatch.setattr("course_lib.authoring.building.execute", lambda *a, name, **k: ran.append(name))
    write(root, "lessons", "01_first", LESSON.replace("1 + 1", "1 + 2"))
    authoring.build(["01_first"], root=root)
    authoring.build(["02"], root=root, force=True)
    assert ran == ["lessons/01_first.ipynb", "lessons/02_second.ipynb", "solutions/02_second.ipynb"]


def test_building_twice_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    root = copied(built, tmp_path)
    before = (root / "lessons" / "01_first.ipynb").read_bytes()
    authoring.build(["01"], root=root, force=True)
    assert (root / "lessons" / "01_first.ipynb").read_bytes() == before


def test_a_cell_that_raises_is_named(course: Path) -> None:
    write(course, "lessons", "01_first", LESSON + "\n# %%\n1 / 0\n")
    with pytest.raises(CourseError, match=r"Cell 3 of lessons/01_first.ipynb raised ZeroDivisionError(.|\n)*1 / 0"):
        authoring.build(["01"], root=course)
    assert not (course / "lessons" / "01_first.ipynb").exists()


def test_widgets_keep_their_picture_and_lose_their_state_and_the_progress_is_elsewhere(course: Path) -> None:
    lines = ["# %%", "import os", "import ipywidgets", "print(len(os.environ['COURSE_HOME']) > 3)"]
    write(course, "lessons", "01_first", "\n".join([*lines, "", "# %%", "ipywidgets.IntSlider(3)", ""]))
    authoring.build(["01"], root=course)
    notebook = read(course / "lessons" / "01_first.ipynb")
    assert "widgets" not in notebook.metadata
    assert notebook.cells[0].outputs[0].text == "True\n"
    assert set(notebook.cells[1].outputs[0].data) == {"text/plain"}


def test_clean_keeps_a_view_that_has_no_picture() -> None:
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "0"}}
    outputs = [nbformat.v4.new_output("display_data", data=view)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    clean(notebook)
    assert notebook.cells[0].outputs[0].data == view


def test_a_path_of_this_machine_is_refused(course: Path) -> None:
    write(course, "lessons", "01_first", "# %%\nfrom pathlib import Path\n\n# %%\nprint(Path.cwd())\n")
    with pytest.raises(CourseError, match="output of cell 2 of lessons/01_first.ipynb shows"):
        authoring.build(["01"], root=course)


def leaks(kind: str, value: object) -> list[int]:
    output = nbformat.v4.new_output("stream", text=value) if kind == "stream" else None
    output = output or nbformat.v4.new_output("display_data", data={kind: value})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    return [position for position, _ in leaked_paths(notebook, ["/srv/course"])]


def test_leaks_are_found_in_every_text_and_in_no_picture() -> None:
    assert leaks("stream", "saved to /srv/course/x.pt") == [1]
    assert leaks("text/html", "<b>/srv/course</b>") == [1]
    assert leaks("application/json", {"where": "/srv/course/x"}) == [1]
    assert leaks("stream", f"in {Path.home()}/x") == [1]
    assert leaks("stream", "/srv/courses and my/srv/course, srv/course") == []
    assert leaks("image/png", "abc /srv/course") == []


# ---- checking


def faults_after(built: Path, tmp_path: Path, name: str, edit) -> list[str]:
    root = copied(built, tmp_path)
    change(root / name, edit)
    return authoring.check(root=root)


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda n: n["cells"][1].update(source="print(3)"), "its sources differ"),
        (lambda n: n["cells"][1].update(id="other"), "its ids differ"),
        (lambda n: n["cells"][1]["metadata"].update(tags=["other"]), "its metadata differ"),
        (lambda n: n["cells"][1]["metadata"].update(collapsed=True), "its metadata differ"),
        (lambda n: n["metadata"]["language_info"].update(version="3.0"), "its notebook metadata differ"),
        (lambda n: n["cells"].pop(), "sources, ids, cell types, metadata differ"),
        (lambda n: n["metadata"].update(widgets={}), "metadata.widgets"),
        (lambda n: n["cells"][1].update(execution_count=None), "not executed"),
        (lambda n: n["cells"][0].update(source="x" * 600_000), "600,"),
    ],
)
def test_every_change_of_a_lesson_is_seen(built: Path, tmp_path: Path, edit, word: str) -> None:
    faults = faults_after(built, tmp_path, "lessons/02_second.ipynb", edit)
    assert any(word in fault and fault.startswith("lessons/02_second.ipynb") for fault in faults), faults


def test_outputs_are_not_compared_but_the_learners_copy_has_none(built: Path, tmp_path: Path) -> None:
    assert (
        faults_after(built, tmp_path / "a", "lessons/01_first.ipynb", lambda n: n["cells"][1].update(outputs=[])) == []
    )
    faults = faults_after(
        built, tmp_path / "b", "exercises/02_second.ipynb", lambda n: n["cells"][3].update(execution_count=1)
    )
    assert len(faults) == 1 and "holds outputs" in faults[0]


def test_missing_damaged_and_orphaned_notebooks_are_seen(built: Path, tmp_path: Path) -> None:
    root = copied(built, tmp_path)
    (root / "exercises" / "02_second.ipynb").unlink()
    (root / "lessons" / "01_first.ipynb").write_text("{", encoding="utf-8")
    (root / "solutions" / "07_gone.ipynb").write_bytes((root / "solutions" / "02_second.ipynb").read_bytes())
    faults = authoring.check(root=root)
    assert len(faults) == 3
    assert "exercises/02_second.ipynb is missing" in faults[1] and "not a readable notebook" in faults[0]
    assert faults[2].startswith("solutions/07_gone.ipynb has no source")


def test_an_unknown_lesson_is_refused(built: Path) -> None:
    with pytest.raises(CourseError, match="no lesson '09'"):
        authoring.build(["09"], root=built)


# ---- the real course


def test_the_courses_notebooks_are_what_their_sources_say() -> None:
    assert authoring.check() == []


def test_no_line_of_a_solution_is_in_the_exercises() -> None:
    handed_out = "\n".join(
        cell.source for path in (ROOT / "exercises").glob("*.ipynb") for cell in read(path).cells
    ).splitlines()
    known = {line.strip() for line in handed_out}
    leaked = []
    for path in (ROOT / "solutions" / "src").glob("*.py"):
        inside = False
        for line in path.read_text(encoding="utf-8").splitlines():
            inside = line.strip() == "### BEGIN SOLUTION" or (inside and line.strip() != "### END SOLUTION")
            if inside and len(line.strip()) > 12 and "SOLUTION" not in line and line.strip() in known:
                leaked.append(f"{path.name}: {line.strip()}")
    assert leaked == []
