"""The grade book: one SQLite file to which lines are added, and none is ever changed.

A line says that a grade was asked for ("pending"), or what came of it. The last line of a learner's exercise is its
present state, so that an interrupted or failed regrade shows as such, and never as the score before it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grading.records import Outcome

TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, at REAL NOT NULL, seed INTEGER NOT NULL, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS submissions (
    line INTEGER PRIMARY KEY, at REAL NOT NULL, learner TEXT NOT NULL, status TEXT NOT NULL, remarks TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS grades (
    line INTEGER PRIMARY KEY, run INTEGER NOT NULL, at REAL NOT NULL, learner TEXT NOT NULL, exercise TEXT NOT NULL,
    digest TEXT NOT NULL, outcome TEXT, remarks TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS of_learner ON grades (learner, exercise, line);
COMMIT;
"""
APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the grade book is append-only'); END;
"""


@dataclass(frozen=True)
class Line:
    """One line of the book: what was asked of which submission (its digest), and the outcome, None while pending."""

    learner: str
    exercise: str
    digest: str
    outcome: Outcome | None = None
    remarks: tuple[str, ...] = ()
    at: float = 0.0


class GradeBook:
    """All grades of a class, in the order in which they came about.

    Every call that writes returns only once the line is on the disk. One program at a time may have the book open.

    Args:
        path: the SQLite file; its folder is made if needed.

    Raises:
        CourseError: the file is no grade book, cannot be written, or another program has it open.

    >>> import tempfile
    >>> with GradeBook(Path(tempfile.mkdtemp()) / "book.sqlite") as book:
    ...     run = book.begin(seed=7, settings={})
    ...     book.ask(run, [Line("ada", "2.1", "d1")])
    ...     [(line.learner, line.outcome) for line in book.current()]
    [('ada', None)]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # grades are nobody else's business
            self.connection = sqlite3.connect(self.path, timeout=0.5)
        except (OSError, sqlite3.Error) as error:
            raise CourseError(self._why(error)) from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.connection.close()
            raise CourseError(self._why(error)) from None

    def _prepare(self) -> None:
        """Take the file for this program alone, and make the tables that are not there."""
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = DELETE", "synchronous = EXTRA"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.executescript(TABLES)
        for table in ("runs", "submissions", "grades"):
            for verb in ("UPDATE", "DELETE"):
                self.connection.execute(APPEND_ONLY.format(table=table, verb=verb))
        with self.connection:
            self.connection.execute("BEGIN EXCLUSIVE")

    def _why(self, error: Exception) -> str:
        """What to tell where the file cannot be used."""
        if "locked" in str(error):
            return f"Another program has the grade book {self.path} open. Let it finish, or pass another --out."
        if "not a database" in str(error) or "malformed" in str(error):
            return f"{self.path} is not a grade book, or it is damaged. Move it away, or pass another --out."
        return f"The grade book {self.path} cannot be written: {error}. Pass --out with another folder."

    def __enter__(self) -> GradeBook:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    # --- writing ---------------------------------------------------------------------------------------------------

    def begin(self, *, seed: int, settings: dict) -> int:
        """Note the beginning of a run, and return its number."""
        text = json.dumps(settings, sort_keys=True)
        return self._write("INSERT INTO runs (at, seed, settings) VALUES (?, ?, ?)", [(time.time(), seed, text)])

    def ask(self, run: int, lines: Iterable[Line]) -> None:
        """Make these grades pending, all of them or none: what was there before is no longer current."""
        self._add(run, lines)

    def record(self, run: int, line: Line) -> None:
        """Write what came of one grade."""
        self._add(run, [line])

    def note_submissions(self, told: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        """Note the status of each learner's submission, and what there is to say about it, where that is new."""
        known = self.submissions()
        rows = [
            (time.time(), learner, status, json.dumps(remarks))
            for learner, (status, remarks) in told.items()
            if known.get(learner) != (status, remarks)
        ]
        self._write("INSERT INTO submissions (at, learner, status, remarks) VALUES (?, ?, ?, ?)", rows)

    def _add(self, run: int, lines: Iterable[Line]) -> None:
        query = "INSERT INTO grades (run, at, learner, exercise, digest, outcome, remarks) VALUES (?, ?, ?, ?, ?, ?, ?)"
        rows = [
            (run, time.time(), x.learner, x.exercise, x.digest, packed(x.outcome), json.dumps(x.remarks)) for x in lines
        ]
        self._write(query, rows)

    def _write(self, query: str, rows: list[tuple]) -> int:
        """Add rows in one transaction."""
        try:
            with self.connection:
                cursor = self.connection.cursor()
                for row in rows:
                    cursor.execute(query, row)
                return cursor.lastrowid or 0
        except sqlite3.Error as error:
            raise CourseError(self._why(error)) from None

    # --- reading ---------------------------------------------------------------------------------------------------

    def runs(self) -> list[tuple[int, dict]]:
        """Seed and settings of every run, the first one first."""
        rows = self.connection.execute("SELECT seed, settings FROM runs ORDER BY run")
        return [(seed, json.loads(settings)) for seed, settings in rows]

    def submissions(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Learner -> status and remarks, as last noted."""
        rows = self.connection.execute("SELECT learner, status, remarks FROM submissions ORDER BY line")
        return {learner: (status, tuple(json.loads(remarks))) for learner, status, remarks in rows}

    def current(self) -> list[Line]:
        """The present state of every learner's exercises, in the order of their names."""
        last = "line IN (SELECT max(line) FROM grades GROUP BY learner, exercise)"
        return self._lines(f"WHERE {last} ORDER BY learner, exercise", ())

    def history(self, learner: str, exercise: str) -> list[Line]:
        """Everything that was ever asked and found for one exercise of one learner, the first line first."""
        return self._lines("WHERE learner = ? AND exercise = ? ORDER BY line", (learner, exercise))

    def _lines(self, where: str, values: tuple) -> list[Line]:
        query = f"SELECT learner, exercise, digest, outcome, remarks, at FROM grades {where}"
        return [
            Line(learner, exercise, digest, unpacked(outcome), tuple(json.loads(remarks)), at)
            for learner, exercise, digest, outcome, remarks, at in self.connection.execute(query, values)
        ]


def packed(outcome: Outcome | None) -> str | None:
    """An outcome as text."""
    return None if outcome is None else json.dumps(outcome.to_json(), sort_keys=True)


def unpacked(text: str | None) -> Outcome | None:
    """The way back."""
    return None if text is None else Outcome.from_json(json.loads(text))
