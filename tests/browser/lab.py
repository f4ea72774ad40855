"""A throw-away JupyterLab over a copy of the course, and the browser to look at it with."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds for anything on a busy machine
FOLDERS = ("lessons", "exercises", "solutions")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


@dataclass(frozen=True)
class Lab:
    """A running server: its address, its token, and the folder it serves."""

    address: str
    token: str
    root: Path

    def page_address(self, notebook: str) -> str:
        """Return where a notebook opens, in a workspace of its own."""
        space = f"test-{secrets.token_hex(4)}"
        return f"{self.address}/lab/workspaces/{space}/tree/{notebook}?reset&token={self.token}"


def browser_path() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def running_browser(path: str):
    """Start a headless browser and close it at the end."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def copy_course(root: Path) -> None:
    """Copy the notebooks without their outputs, and those reduced to the cells a widget needs into `driven/`."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for source in sorted((REPOSITORY / folder).glob("*.ipynb")):
            write_clean(source, root / folder / source.name)
    (root / "driven").mkdir(exist_ok=True)
    for source in sorted((root / "lessons").glob("*.ipynb")):
        write_reduced(source, root / "driven" / source.name)


def write_clean(source: Path, target: Path) -> None:
    """Copy one notebook with its outputs cleared."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, target)


def write_reduced(source: Path, target: Path) -> None:
    """Keep only the code cells tagged `setup` or `widget`."""
    notebook = nbformat.read(source, as_version=4)
    wanted = {"setup", "widget"}
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" and wanted & set(c.metadata.get("tags", ()))]
    nbformat.write(notebook, target)


@contextmanager
def running_lab(folder: Path):
    """Serve `folder/course` with every setting, log and workspace inside `folder`; stop at the end."""
    root = folder / "course"
    root.mkdir(parents=True, exist_ok=True)
    environment = own_environment(folder)
    for _ in range(3):  # another program may take the port between choosing and using it
        token, port = secrets.token_hex(16), free_port()
        with (folder / "jupyterlab.log").open("w") as log:
            server = subprocess.Popen(command(root, port, token), cwd=root, env=environment, stdout=log, stderr=log)
        lab = Lab(f"http://127.0.0.1:{port}", token, root)
        try:
            if answers(lab, server):
                yield lab
                return
        finally:
            stop(server)
    raise RuntimeError("JupyterLab did not start:\n" + (folder / "jupyterlab.log").read_text()[-3000:])


def own_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nothing of this machine's Jupyter is read or written."""
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "COURSE_HOME": "course-home",
    }
    for name in names.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS))
    search = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **{k: str(folder / v) for k, v in names.items()}, "PYTHONPATH": search}


def command(root: Path, port: int, token: str) -> list[str]:
    """Return the command line of the server."""
    options = {
        "ServerApp.root_dir": root,
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]


def free_port() -> int:
    """Return a port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(lab: Lab, server: subprocess.Popen) -> bool:
    """Wait until the server answers; False if it has ended instead."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{lab.address}/api/status?token={lab.token}", timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def stop(server: subprocess.Popen) -> None:
    """End the server, and with it its kernels."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
