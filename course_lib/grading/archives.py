"""The files in a folder or a zip, whatever is wrong with it: nothing is unpacked, and no more is read than is allowed."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from course_lib.errors import CourseError

LARGEST_BYTES = 64_000_000  # of one file, unpacked
MOST_MEMBERS = 20_000  # of one zip
BROKEN = (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Source:
    """A file: its name with forward slashes, its size in bytes, how to open it, and its path unless it is in a zip."""

    name: str
    size: int
    open: Callable[[], BinaryIO]
    path: Path | None = None

    def read(self) -> bytes:
        """The content.

        Raises:
            CourseError: it cannot be read, or is larger than `LARGEST_BYTES`, whatever its header says.
        """
        try:
            with self.open() as file:
                data = file.read(LARGEST_BYTES + 1)
        except BROKEN as error:
            raise CourseError(f"it cannot be read ({error})") from None
        if len(data) > LARGEST_BYTES:
            raise CourseError(f"it is larger than {LARGEST_BYTES / 1e6:.0f} MB")
        return data

    def renamed(self, name: str) -> Source:
        """The same file under another name."""
        return replace(self, name=name)


def in_folder(folder: Path) -> Iterator[Source]:
    """Every regular file below a folder; links, pipes and devices are passed over, for they may lead elsewhere."""
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            with contextlib.suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield Source(path.relative_to(folder).as_posix(), status.st_size, opener(path), path)


def opener(path: Path) -> Callable[[], BinaryIO]:
    """How to open a file for reading."""
    return lambda: path.open("rb")


def in_zip(zipped: Path | Source, opened: contextlib.ExitStack) -> Iterator[Source]:
    """Every file in a zip, which stays open until `opened` is closed.

    Raises:
        CourseError: it is not a zip, or holds too much.
    """
    try:
        whole = zipped if isinstance(zipped, Path) else BytesIO(zipped.read())
        archive = opened.enter_context(zipfile.ZipFile(whole))
        members = archive.infolist()
    except BROKEN as error:
        raise CourseError(
            f"This zip cannot be read ({error}). Pack it again, or hand in the files themselves."
        ) from None
    if len(members) > MOST_MEMBERS:
        raise CourseError(f"This zip holds {len(members):,} files; at most {MOST_MEMBERS:,} are read.")
    for member in members:
        if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
            yield Source(member.filename.replace("\\", "/").lstrip("/"), member.file_size, reader(archive, member))


def reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    """How to open a member for reading."""
    return lambda: archive.open(member)
