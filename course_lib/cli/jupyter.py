"""JupyterLab on a learner's folder, without pop-ups and without touching their own Jupyter settings."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from course_lib.workspace import Report

OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def told(report: Report, folder: Path) -> list[str]:
    """Say in a few lines what an update of the workspace did."""
    lines = [f"Your folder: {folder}"]
    if report.added:
        lines.append(f"{len(report.added)} notebooks added.")
    if report.updated:
        lines.append(f"{len(report.updated)} notebooks updated; those you had run are also in .previous/.")
    if report.kept:
        lines.append(f"{len(report.kept)} notebooks that you edited are as you left them.")
    if report.offered:
        lines.append(f"New versions of them, beside yours: {', '.join(report.offered)}")
    return lines if len(lines) > 1 else [*lines, "Everything is up to date."]


def open_lab(folder: Path, *, port: int | None, browser: bool) -> int:
    """Run JupyterLab until the learner ends it, and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="small-nets-") as settings:
        (Path(settings) / "overrides.json").write_text(json.dumps(OVERRIDES), encoding="utf-8")
        process = subprocess.Popen(lab_command(folder, Path(settings), port=port, browser=browser))
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # JupyterLab got it too, and asks whether to stop
                continue


def lab_command(folder: Path, settings: Path, *, port: int | None, browser: bool) -> list[str]:
    """Return the command line that opens lesson 00 of this folder."""
    first = min((folder / "lessons").glob("00_*.ipynb"), default=None)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab{f'/tree/lessons/{first.name}' if first else ''}",
        f"--LabApp.app_settings_dir={settings}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    command += [f"--ServerApp.port={port}"] if port else []
    command += [] if browser else ["--no-browser"]
    return command + (["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])  # as in containers
