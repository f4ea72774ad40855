"""The raw files of the data sets: which they are, whether they are there, and how to copy them without a network."""

import hashlib
import os
import shutil
from pathlib import Path

from course_lib.errors import CourseError, require_choice

IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
# torchvision's layout: name -> (folder, files)
RAW_FILES = {
    "mnist": ("MNIST/raw", IDX),
    "fashion_mnist": ("FashionMNIST/raw", IDX),
    "usps": ("", ("usps.bz2", "usps.t.bz2")),
    "cifar10": ("", ("cifar-10-python.tar.gz",)),
}


def is_present(name: str, folder: Path) -> bool:
    """Tell whether every raw file of a data set lies in the data folder."""
    place, names = RAW_FILES[name]
    return all((folder / place / file).is_file() for file in names)


def copy_raw_files(name: str, source: Path, folder: Path) -> int:
    """Copy a data set's raw files into the data folder; return how many.

    Args:
        source: has torchvision's layout, or the files themselves.

    Raises:
        CourseError: a file is missing or not the published one, or the folder cannot be written.
    """
    require_choice("name", name, tuple(RAW_FILES))
    place, names = RAW_FILES[name]
    found = {file: _find(source, place, file, name) for file in names}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        raise CourseError(
            f"{source} lacks {', '.join(missing)} of {name}. Pass the folder that holds {place or 'them'}, "
            "as torchvision downloads it."
        )
    try:
        _require_published(name, found)
        for file, path in found.items():
            _copy(path, folder / place / file)
    except OSError as error:
        raise CourseError(
            f"{error.filename} cannot be copied: {error.strerror}. Pass --folder with another folder."
        ) from error
    return len(names)


def _require_published(name: str, found: dict[str, Path]) -> None:
    published = _checksums(name)
    for file, path in found.items():
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != published[file]:
            raise CourseError(
                f"{path} is not the published file of {name}: its MD5 differs. It is damaged, changed or of another "
                "data set. Get the original file and pass its folder to --from; nothing was copied."
            )


def _checksums(name: str) -> dict[str, str]:
    """Return the MD5 that torchvision expects of each raw file."""
    from torchvision import datasets

    if name == "usps":
        return {file: md5 for _, file, md5 in datasets.USPS.split_list.values()}
    if name == "cifar10":
        return {datasets.CIFAR10.filename: datasets.CIFAR10.tgz_md5}
    return dict({"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name].resources)


def _find(source: Path, place: str, file: str, name: str) -> Path | None:
    places = (source / place / file, source / name.upper() / file, source / file)
    return next((path for path in places if path.is_file()), None)


def _copy(path: Path, target: Path) -> None:
    """Copy the whole file or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, partial)
    os.replace(partial, target)
