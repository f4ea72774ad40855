"""The learner's progress: a small SQLite file in the user's data folder, never lost, never in the way."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS attempts (exercise TEXT, status TEXT, points REAL, mistake TEXT, at REAL);
CREATE TABLE IF NOT EXISTS predictions (lesson INTEGER, name TEXT, value TEXT, at REAL);
CREATE TABLE IF NOT EXISTS answers (lesson INTEGER, question INTEGER, choice TEXT, right INTEGER, at REAL);
CREATE TABLE IF NOT EXISTS hints (exercise TEXT, at REAL);
"""


def progress_file() -> Path:
    """Where progress is kept: in $COURSE_HOME if it is set, else in the user's data folder."""
    if "COURSE_HOME" in os.environ:
        return Path(os.environ["COURSE_HOME"]) / "progress.sqlite"
    from platformdirs import user_data_path

    return user_data_path("small-nets") / "progress.sqlite"


def store() -> Store:
    """The learner's store; the same one as long as the file is the same."""
    return open_store(str(progress_file()))


@lru_cache(maxsize=4)
def open_store(path: str) -> Store:
    """Open a store once."""
    return Store(Path(path))


class Store:
    """Attempts, predictions, quiz answers and hints, in the order in which they came.

    A file that is not a database is set aside under a new name, not overwritten. Where no file can be written, the
    progress is kept in memory until the notebook is closed, and a warning says so.

    Args:
        path: the SQLite file; its folder is made if needed.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()) / "progress.sqlite")
    >>> store.record_attempt("2.1", "passed", points=2)
    >>> store.summary()
    [{'exercise': '2.1', 'status': 'passed', 'points': 2.0, 'attempts': 1}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = usable(path)
        except (OSError, sqlite3.OperationalError) as error:
            told = f"Progress cannot be saved in {path} ({error}); it is kept until you close this notebook."
            warnings.warn(told, stacklevel=4)
            self.connection = sqlite3.connect(":memory:", check_same_thread=False)
            self.connection.executescript(TABLES)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; where the file has become read-only or is locked, the notebook goes on with a warning."""
        try:
            with self.connection:
                yield self.connection
        except sqlite3.Error as error:
            warnings.warn(f"This step could not be saved to your progress in {self.path} ({error}).", stacklevel=4)

    def record_attempt(self, exercise: str, status: str, *, points: float = 0, mistake: str | None = None) -> None:
        """Keep one run of a check."""
        with self.writing() as db:
            db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?)", (exercise, status, points, mistake, time.time()))

    def record_prediction(self, lesson: int, name: str, value: str | None) -> None:
        """Keep a bet, or None where it was skipped; only the first bet counts, but a skipped one may still be made."""
        if self.prediction(lesson, name) is None:
            with self.writing() as db:
                db.execute("INSERT INTO predictions VALUES (?, ?, ?, ?)", (lesson, name, value, time.time()))

    def record_answer(self, lesson: int, question: int, choice: str, *, right: bool) -> None:
        """Keep a click in a quiz."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", (lesson, question, choice, int(right), time.time())
            )

    def record_hint(self, exercise: str) -> None:
        """Keep that a hint was taken."""
        with self.writing() as db:
            db.execute("INSERT INTO hints VALUES (?, ?)", (exercise, time.time()))

    def prediction(self, lesson: int, name: str) -> str | None:
        """The learner's first bet, or None."""
        query = "SELECT value FROM predictions WHERE lesson = ? AND name = ? AND value IS NOT NULL ORDER BY at LIMIT 1"
        found = self.connection.execute(query, (lesson, name)).fetchone()
        return found[0] if found else None

    def hints_taken(self, exercise: str) -> int:
        """How many hints were taken for an exercise."""
        return self.connection.execute("SELECT count(*) FROM hints WHERE exercise = ?", (exercise,)).fetchone()[0]

    def failures(self, exercise: str) -> int:
        """How many tries failed or raised."""
        query = "SELECT count(*) FROM attempts WHERE exercise = ? AND status IN ('failed', 'raised')"
        return self.connection.execute(query, (exercise,)).fetchone()[0]

    def passed(self, exercise: str) -> bool:
        """Whether a check of this exercise has ever passed."""
        query = "SELECT count(*) FROM attempts WHERE exercise = ? AND status = 'passed'"
        return self.connection.execute(query, (exercise,)).fetchone()[0] > 0

    def summary(self) -> list[dict]:
        """For each exercise tried: the best status, the points, the number of real attempts."""
        query = """
            SELECT exercise,
                   CASE WHEN sum(status = 'passed') THEN 'passed' ELSE max(status) END,
                   max(points),
                   sum(status != 'not attempted')
            FROM attempts GROUP BY exercise ORDER BY CAST(exercise AS REAL), exercise"""
        names = ("exercise", "status", "points", "attempts")
        return [dict(zip(names, row, strict=True)) for row in self.connection.execute(query)]


def usable(path: Path) -> sqlite3.Connection:
    """A connection to the file, or to a new one in its place if it is damaged; the damaged one is kept."""
    try:
        return connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    path.rename(aside)
    told = f"{path} is not a progress file that can be read. It was set aside as {aside.name}; a new one is begun."
    warnings.warn(told, stacklevel=6)
    return connect(path)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file and make sure that it has the tables and can be read."""
    connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    try:
        connection.executescript(TABLES)
        connection.execute("PRAGMA quick_check").fetchone()
        connection.execute("SELECT exercise, status, points, mistake, at FROM attempts LIMIT 1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
