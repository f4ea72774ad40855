"""What holds for the whole repository: import contracts, docstrings, sizes, the map, no traces of a machine."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import course_lib
from course_lib.lesson import begin
from course_lib.outline import OUTLINE, course_map
from course_lib.rubrics.exercise import LESSON_STEMS

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted((REPOSITORY / "course_lib").rglob("*.py"))
PUBLIC_ROOMS = [
    "data", "models", "measure", "training", "pruning", "quantization", "distillation", "memory", "attention", "capstone",
    "grading", "evidence", "viz", "checking", "lesson", "outline",
]  # fmt: skip


def test_import_contracts() -> None:
    """Arrows run one way; pyproject.toml says which."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_ruff() -> None:
    """One style."""
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_is_short(path: Path) -> None:
    """A module under 250 lines is one idea; rubrics, which are data, may be longer."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (700 if path.parent.name == "rubrics" else 250)


def test_functions_are_short() -> None:
    """Half under 8 lines, nine in ten under 25, docstrings not counted."""
    sizes = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                sizes.append(body[-1].end_lineno - body[0].lineno + 2 if body else 1)
    assert statistics.median(sizes) < 8
    assert statistics.quantiles(sizes, n=10)[-1] < 25


def public_functions() -> list[tuple[str, object]]:
    """What a learner may call: the functions that the rooms export."""
    found = []
    for room in PUBLIC_ROOMS:
        module = importlib.import_module(f"course_lib.{room}")
        names = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        ]
        found += [(f"{room}.{name}", getattr(module, name)) for name in names]
    return [(name, value) for name, value in found if callable(value)]


@pytest.mark.parametrize(
    ("name", "value"), public_functions(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_public_name_is_documented(name: str, value: object) -> None:
    """Every public name has a docstring; every exported function an example and the lesson that teaches it."""
    text = inspect.getdoc(value)
    assert text
    room = importlib.import_module(f"course_lib.{name.split('.')[0]}")
    if inspect.isfunction(value) and hasattr(room, "__all__"):
        assert re.search(r"Lessons? \d\d", text), "says no lesson"
        assert ">>>" in text, "has no example"


def test_every_module_has_a_docstring() -> None:
    """Its first line says what it is for."""
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_importing_is_quick() -> None:
    """No room that a learner imports pulls in torchvision, scikit-learn, pandas or torch's compiler."""
    rooms = ", ".join(f"course_lib.{m.name}" for m in pkgutil.iter_modules(course_lib.__path__) if m.name != "cli")
    code = f"import sys, {rooms}; print([n for n in ('torchvision', 'sklearn', 'sympy', 'pandas', 'matplotlib', 'torch._dynamo') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_training_needs_no_compiler() -> None:
    """A notebook that trains does not wait for torch's compiler to be imported."""
    code = """
import sys, torch
from course_lib.training import fit, fit_trials
from course_lib.data import load
from course_lib.measure import layer_costs
from course_lib.models import lenet_300_100, small_cnn
data = load("digits")
fit(small_cnn(), data.train, steps=2)
fit_trials([lenet_300_100(), lenet_300_100()], data.train, steps=2)
layer_costs(small_cnn(), (1, 8, 8))
print([name for name in ("torch._dynamo", "sympy", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_map_is_current() -> None:
    """The picture in the README is drawn from the outline."""
    assert (REPOSITORY / "lessons" / "map.svg").read_text(encoding="utf-8") == course_map() + "\n"
    assert [entry.number for entry in OUTLINE] == list(range(18))


def test_a_lesson_has_one_name() -> None:
    """The map and the cards call a lesson what its title says before the colon; its exercises and the README agree."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for entry in OUTLINE:
        stem, name = LESSON_STEMS[entry.number], f"{entry.number:02} · {entry.title}"
        for folder in ("lessons", "solutions"):
            path = REPOSITORY / folder / "src" / f"{stem}.py"
            if path.exists():
                title = path.read_text(encoding="utf-8").split("\n# # ")[1].split("\n")[0]
                assert title.split(":")[0] == name
        assert re.search(rf"\[{entry.number:02} {re.escape(entry.title)}(: [^\]]*)?\]\(lessons/{stem}", readme)
        assert begin(lesson=entry.number).heading == f"Lesson {name}"


def test_readme_names_every_lesson() -> None:
    """Each lesson that exists is linked from the README."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for stem in LESSON_STEMS.values():
        assert f"lessons/{stem}.ipynb" in text


TRACES = re.compile(
    "py"
    + r"pi\.org|python"
    + r"hosted\.org|registry\.np"
    + r"mjs|deb\.deb"
    + r"ian\.org|/ro"
    + r"ot/|/wo"
    + r"rk/(main|shared)"
)


def test_no_trace_of_a_machine() -> None:
    """No registry's host and no path of the machine that built a notebook stands in a tracked file."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    for name in listed.stdout.splitlines():
        path = REPOSITORY / name
        if path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".svg", ".js", ".css"} and path.exists():
            found = TRACES.search(path.read_text(encoding="utf-8"))
            assert not found, f"{name}: {found.group()}"
