"""The `course` command: `course lab` opens the course, `course --help` lists the rest."""

import sys

from course_lib.cli import grading, learning, teaching  # noqa: F401  (their commands register themselves)
from course_lib.cli.shared import app


def main() -> None:
    """Run the command that was typed; what a terminal cannot show becomes a question mark instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
