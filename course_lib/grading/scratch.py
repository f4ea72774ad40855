"""The one folder in which an answer may write: how much is in it, and emptying it."""

from __future__ import annotations

import os
import subprocess


def usage(folder: str, most_files: int) -> tuple[int, int]:
    """Number of files, and bytes; counting ends above `most_files`."""
    if os.path.ismount(folder):  # also counts files that have no name any more
        whole = os.statvfs(folder)
        return whole.f_files - whole.f_ffree, (whole.f_blocks - whole.f_bfree) * whole.f_frsize
    n_files = n_bytes = 0
    waiting = [folder]
    while waiting and n_files <= most_files:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    n_files += 1
                    n_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:
            continue  # removed while we looked
        except OSError:
            return most_files + 1, n_bytes  # nested too deep, or closed to us
    return n_files, n_bytes


def empty(folder: str) -> bool:
    """Remove what is in the folder; False where something stays."""
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    if paths:  # `rm` also removes what is nested too deep for Python
        subprocess.run(["rm", "-rf", "--", *paths], check=False, stderr=subprocess.DEVNULL)
    return not os.listdir(folder)
