"""Experiments at paper scale: many independent units, each result kept as soon as it is measured."""

import importlib
import inspect
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from rich.progress import track

from course_lib.authoring.sources import ROOT, stems_of
from course_lib.errors import CourseError


@dataclass(frozen=True)
class Experiment:
    """A lesson's experiment: its stem, and a module with `units`, `measure` and `report`."""

    stem: str
    module: ModuleType


def find_experiment(lesson: str, *, root: Path = ROOT) -> Experiment:
    """Return the experiment of lesson "05" (or "5", or its stem).

    Raises:
        CourseError: there is no such lesson, or it has no experiment.
    """
    topics = {module.name for module in iter_modules(importlib.import_module("course_lib.experiments").__path__)}
    with_one = [stem for stem in stems_of("lessons", root) if stem[3:] in topics]
    for stem in with_one:
        if lesson == stem or lesson.zfill(2) == stem[:2]:
            return Experiment(stem, importlib.import_module(f"course_lib.experiments.{stem[3:]}"))
    raise CourseError(f"Lesson {lesson} has no experiment to run. These have one: {', '.join(with_one) or 'none yet'}.")


def units_of(experiment: Experiment, data: str, *, trials: int, iterations: int | None) -> list[dict]:
    """Return the parameters of every piece of work of an experiment.

    Raises:
        CourseError: `iterations` was asked of an experiment that does not take it.
    """
    if iterations is None:
        return experiment.module.units(data, trials=trials)
    if "iterations" not in inspect.signature(experiment.module.units).parameters:
        raise CourseError(f"The experiment of {experiment.stem} takes no --iterations. Leave it out.")
    return experiment.module.units(data, trials=trials, iterations=iterations)


def run(module: ModuleType, units: list[dict], path: Path, *, note: Callable[[str], None]) -> str:
    """Measure the units whose result `path` does not hold yet, and return the report on all of them.

    Args:
        module: offers `measure(unit) -> result` and `report(results) -> text`; `measure(unit, result_of)` where a unit
            builds on units before it: `result_of(unit)` is what they gave.
        path: one JSON line {"unit": …, "result": …} per unit.
        note: is told what a learner should know.

    Raises:
        CourseError: a line of `path` other than the last is damaged, or it cannot be written.
    """
    results = _resume(path, note)
    missing = [unit for unit in units if _key(unit) not in results]
    if len(missing) < len(units):
        note(f"{len(units) - len(missing)} of {len(units)} results are there already.")
    for unit in track(missing, description="Measuring", disable=not missing):
        results[_key(unit)] = json.loads(_append(path, unit, _measured(module, unit, results)))["result"]
    return module.report([results[_key(unit)] for unit in units])


def _measured(module: ModuleType, unit: dict, results: dict[str, dict]) -> dict:
    """Measure a unit; a `measure` with two arguments builds on earlier units, and can ask for their results."""
    if len(inspect.signature(module.measure).parameters) == 1:
        return module.measure(unit)
    return module.measure(unit, lambda earlier: results[_key(earlier)])


def _key(unit: dict) -> str:
    return json.dumps(unit, sort_keys=True)


def _append(path: Path, unit: dict, result: dict) -> str:
    """Write one line and wait until it is on the disk."""
    line = json.dumps({"unit": unit, "result": result})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CourseError(f"{path} cannot be written: {error.strerror}. Pass --out with another folder.") from error
    return line


def _resume(path: Path, note: Callable[[str], None]) -> dict[str, dict]:
    """Read the results that are there; a last line that was cut off is removed from the file."""
    content = path.read_bytes() if path.is_file() else b""
    results, good = {}, 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("cut off")
            entry = json.loads(line)
            results[_key(entry["unit"])] = entry["result"]
            good += len(line)
        except (ValueError, KeyError, TypeError) as error:
            if good + len(line) < len(content):
                raise CourseError(
                    f"Line {number} of {path} is damaged. Remove that line, or pass another --out."
                ) from error
            note(f"The last line of {path} was cut off; its unit is measured again.")
            with path.open("r+b") as file:
                file.truncate(good)
    return results
