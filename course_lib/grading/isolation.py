"""How strictly an answer can be confined on this machine, and the command line that does it.

full     bubblewrap: no network, no other processes, a read-only system, and all of the next level inside
kernel   Landlock and a system call filter: no other files, no network, no new processes; no bubblewrap needed
process  a process of its own with limits: an answer cannot reach the grader's memory, but can reach files and network
"""

from __future__ import annotations

import os
import shutil
import site
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Literal, get_args

import course_lib
from course_lib.errors import CourseError, require_choice
from course_lib.grading import bytecode

Level = Literal["process", "kernel", "full"]
LEVELS: tuple[str, ...] = get_args(Level)  # from the loosest to the strictest

PACKAGE = Path(course_lib.__file__).parent
NEEDED = (
    "__init__.py", "errors.py", "models", "attention", "rubrics/verbs.py", "rubrics/wire.py", "grading/__init__.py",
    "grading/child.py", "grading/warm.py", "grading/confinement.py", "grading/landlock.py", "grading/seccomp.py",
    "grading/processes.py", "grading/scratch.py",
)  # fmt: skip
FORBIDDEN = PACKAGE / "rubrics" / "judge.py"
SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/fonts",
)
MACHINE = ("/sys/devices/system/cpu",)
SCRATCH = "/learner"  # not /tmp: the course may lie there
SCRATCH_BYTES = 64 * 2**20
FIRST_USER = 1_900_000_000  # numbers that no account has; one for each sandbox
SETTINGS = {
    "PATH": "/usr/bin:/bin", "HOME": SCRATCH, "TMPDIR": SCRATCH, "USER": "learner", "LC_ALL": "C.UTF-8", "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": SCRATCH, "IPYTHONDIR": SCRATCH, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1",
}  # fmt: skip
NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
START = "import sys; sys.path.insert(0, sys.argv.pop()); from course_lib.grading.warm import main; main()"

users = count()


@dataclass(frozen=True)
class Isolation:
    """The strictest level that was proved to work here; `reason` and `remedy` say what stands in the way of a better one."""

    level: Level
    reason: str = ""
    remedy: str = ""


@cache
def probe() -> Isolation:
    """Try the levels from the strictest down, each with a real sandbox in which forbidden things are tried."""
    reason = remedy = ""
    for level in ("full", "kernel"):
        missing = lacking(level)
        problems = [] if missing else proved(level)
        if not missing and not problems:
            return Isolation(level, reason, remedy)
        reason = reason or f"{level}: {missing or 'these were not stopped or failed: ' + '; '.join(problems)}"
        remedy = remedy or advice(level, missing)
    return Isolation("process", reason, remedy)


def require(level: str) -> str:
    """The level, if this machine gives it (a machine that gives a stricter one gives the looser ones too).

    Raises:
        CourseError: it does not.

    >>> require("process")
    'process'
    """
    require_choice("isolation", level, LEVELS)
    found = probe()
    if LEVELS.index(level) > LEVELS.index(found.level):
        raise CourseError(
            f"Isolation {level!r} is asked for, but this machine gives {found.level!r} only ({found.reason}).\n"
            f"To get it: {found.remedy}. Or ask for less with --require-isolation {found.level}."
        )
    if level == "kernel" and found.level == "full" and (problems := lacking(level) or "; ".join(proved(level))):
        raise CourseError(f"Isolation 'kernel' does not work here ({problems}). Ask for 'full', which does.")
    return level


def lacking(level: str) -> str:
    """What must be there for a level and is not, or ""."""
    if sys.platform != "linux":
        return "only Linux has it"
    from course_lib.grading import landlock, seccomp

    if seccomp.library() is None:
        return "libseccomp is not installed"
    if level == "full":
        missing = [name for name in ("bwrap", "setpriv") if shutil.which(name) is None]
        return f"{' and '.join(missing)} not found" if missing else ""
    return "" if landlock.abi() >= landlock.NEEDED_ABI else "the kernel has no Landlock, or one older than Linux 6.2"


def advice(level: str, missing: str) -> str:
    """What a teacher can do."""
    if sys.platform != "linux":
        return "grade on Linux, in a virtual machine or in a container"
    if "libseccomp" in missing or "not found" in missing:
        return "install the packages bubblewrap, util-linux and libseccomp2"
    if level == "full":
        return "allow user namespaces (or bubblewrap's AppArmor profile), or run the container with permission for them"
    return "use Linux 6.2 or newer with Landlock switched on"


@cache
def proved(level: str) -> list[str]:
    """What a confined process could do all the same, tried in a sandbox of that level; empty is good."""
    from course_lib.grading.sandbox import Sandbox, SandboxError

    try:
        with Sandbox(level) as sandbox:
            return sandbox.proof()
    except SandboxError as error:
        return [str(error)]


# --- the command line ----------------------------------------------------------------------------------------------


def readable_paths() -> list[str]:
    """What an answer may read: the system's libraries, Python, its packages, and the few files of ours it runs on."""
    packages = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    ours = [str(PACKAGE / name) for name in NEEDED]
    paths = (*SYSTEM, *MACHINE, sys.base_prefix, sys.prefix, *packages, *compiled().values(), *ours)
    return [path for path in paths if os.path.exists(path)]


def hidden_paths() -> list[str]:
    """What lies inside of those and is nobody's business: the labels of the digits that scikit-learn carries."""
    return [path for folder in site.getsitepackages() if os.path.isdir(path := f"{folder}/sklearn/datasets/data")]


def command(level: str) -> list[str]:
    """The command that starts the sandbox's Python."""
    python = [sys.executable, "-c", START, str(PACKAGE.parent)]
    return [*bubblewrap(), *become_nobody(next(users)), *python] if level == "full" else [*lose_capabilities(), *python]


def settings(level: str, scratch: str) -> dict[str, str]:
    """The whole environment; bubblewrap itself gets none of it."""
    folders = {} if level == "full" else dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR"), scratch)
    return SETTINGS | folders | compiled()


def compiled() -> dict[str, str]:
    """Where Python finds compiled modules."""
    folder = bytecode.folder(tuple(PACKAGE / name for name in NEEDED))
    return {"PYTHONPYCACHEPREFIX": folder} if folder else {}


def bubblewrap() -> list[str]:
    """All namespaces, nothing but what is readable, one small folder for files, and the environment set inside."""
    options = [shutil.which("bwrap"), *NAMESPACES, "--die-with-parent", "--new-session", "--clearenv"]
    options += [] if is_root() else ["--unshare-user", "--disable-userns"]  # as root, a user of its own is stronger
    options += ["--cap-drop", "ALL"]
    options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"] if is_root() else []
    options += ["--proc", "/proc", "--dev", "/dev"]
    own = [str(PACKAGE / name) for name in NEEDED]
    system = [path for path in readable_paths() if path not in own]
    options += [*directories([*system, str(PACKAGE)]), *read_only(system)]
    options += ["--size", "65536", "--perms", "0755", "--tmpfs", str(PACKAGE), *directories(own), *read_only(own)]
    for path in hidden_paths():
        options += ["--size", "4096", "--tmpfs", path, "--remount-ro", path]
    options += ["--remount-ro", str(PACKAGE), "--remount-ro", "/dev"]
    options += [] if any(path.startswith("/tmp/") for path in (*system, *own)) else ["--symlink", SCRATCH, "/tmp"]
    options += f"--size {SCRATCH_BYTES} --perms 1777 --tmpfs {SCRATCH} --chdir {SCRATCH} --remount-ro /".split()
    for name, value in (SETTINGS | compiled()).items():
        options += ["--setenv", name, value]
    return [*options, "--"]


def directories(paths: Iterable[str]) -> list[str]:
    """The folders above these paths, open to every user of the sandbox."""
    above = {str(folder) for path in paths for folder in Path(path).parents}
    return [option for folder in sorted(above - {"/"}) for option in ("--perms", "0755", "--dir", folder)]


def read_only(paths: Iterable[str]) -> list[str]:
    """The paths, mounted for reading where they are; links are followed."""
    return [option for path in paths for option in ("--ro-bind", os.path.realpath(path), path)]


def is_root() -> bool:
    """Whether the grader runs as root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def become_nobody(number: int) -> list[str]:
    """As root: become a user of one's own inside the sandbox, without any capability."""
    if not is_root():
        return []
    user = str(FIRST_USER + os.getpid() % 2**14 * 2**12 + number % 2**12)
    return [*lose_capabilities(), "--reuid", user, "--regid", user, "--clear-groups"]


def lose_capabilities() -> list[str]:
    """As root: keep the user, lose every capability."""
    setpriv = shutil.which("setpriv") if is_root() else None
    return [setpriv, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"] if setpriv else []
