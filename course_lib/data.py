"""Real images, offline first: scikit-learn's digits are always there; the others come through torchvision.

And three small tables made from their rules, for networks of a dozen weights: XOR and the MONK's problems.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import CourseError, require_choice, require_positive

N_FOLDS = 5


@dataclass(frozen=True)
class Split:
    """Images x (n, channels, height, width), float32 from 0 to 1, and labels y (n,), int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A data set in three parts: train on the first, choose on the second, report on the third."""

    name: str
    train: Split
    validation: Split
    test: Split

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, (channels, height, width)."""
        return tuple(self.train.x.shape[1:])

    @property
    def n_classes(self) -> int:
        """How many different labels there are."""
        return int(self.train.y.max()) + 1

    def __repr__(self) -> str:
        parts = f"{len(self.train):,} train, {len(self.validation):,} validation, {len(self.test):,} test"
        return f"{self.name}: {parts}; images {'×'.join(map(str, self.input_shape))}, {self.n_classes} classes"


def load(name: str = "digits", *, fold: int = 0, folder: str | Path | None = None) -> Dataset:
    """Load a data set by name; only "digits" needs no download.

    Digits: 1,797 real handwritten digits of 8×8 pixels, split by class into five equal folds; the test split is
    fold `fold` (360 images, so that one image is 0.28 points), the validation split a sixth of the rest. Going
    through all five folds tests every image once. The other data sets keep their published test split, and a
    random 5,000 of their training images (500 for USPS) are the validation split.

    Args:
        name: "digits", "mnist", "fashion_mnist", "usps" or "cifar10".
        fold: which fifth of the digits is the test split, 0..4; for the others it draws another validation split.
        folder: where downloaded files lie; by default `data_folder()`.

    Raises:
        CourseError: an unknown name, or files that are missing and cannot be downloaded, or are damaged.

    >>> load("digits")
    digits: 1,197 train, 240 validation, 360 test; images 1×8×8, 10 classes

    Lesson 00.
    """
    require_choice("name", name, ("digits", *DOWNLOADS))
    require_positive("fold", fold, at_least=0)
    if name == "digits":
        return load_digits(fold)
    return load_download(name, fold, Path(folder) if folder else data_folder())


def load_digits(fold: int) -> Dataset:
    """The digits that scikit-learn carries, with fold `fold` of five as test split."""
    if fold >= N_FOLDS:
        raise CourseError(f"The digits are split into {N_FOLDS} folds, 0 to {N_FOLDS - 1}, but you passed fold={fold}.")
    table = torch.from_numpy(read_digits())  # (1797, 65): 64 pixels from 0 to 16, and the label
    x = table[:, :64].reshape(-1, 1, 8, 8) / 16
    y = table[:, 64].long()
    folds = stratified_folds(y, N_FOLDS, seed=0)
    rest = torch.cat([folds[k] for k in range(N_FOLDS) if k != fold])
    parts = stratified_folds(y[rest], 6, seed=fold)
    train = rest[torch.cat(parts[1:]).sort().values]
    validation, test = rest[parts[0]], folds[fold]
    return Dataset("digits", *(Split(x[rows], y[rows]) for rows in (train, validation, test)))


def read_digits() -> np.ndarray:
    """The table inside scikit-learn, (1797, 65) float32, without importing scikit-learn, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise CourseError(
            "scikit-learn, which carries the digits, is not installed: run `uv sync` in the course's folder."
        )
    return np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",", dtype=np.float32)


def stratified_folds(y: Tensor, n_folds: int, *, seed: int) -> list[Tensor]:
    """Row numbers in `n_folds` parts of equal size (±1) and with equal shares of every class."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(y), generator=generator)
    by_class = shuffled[y[shuffled].argsort(stable=True)]  # class after class, shuffled inside each
    return [by_class[part::n_folds].sort().values for part in range(n_folds)]


def xor() -> Split:
    """The four cases of "one or the other": x (4, 2), zeros and ones, and labels (4,).

    >>> xor().y.tolist()
    [0, 1, 1, 0]

    Lesson 04.
    """
    return Split(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1, 1, 0]))


MONKS_VALUES = (3, 3, 2, 3, 4, 2)  # how many values each of the six attributes takes, counted from 1
MONKS_TRAIN = {1: 124, 2: 169, 3: 122}  # examples to learn from, as published
MONKS_RULES = {
    1: lambda a: (a[:, 0] == a[:, 1]) | (a[:, 4] == 1),
    2: lambda a: (a == 1).sum(1) == 2,
    3: lambda a: ((a[:, 4] == 3) & (a[:, 3] == 1)) | ((a[:, 4] != 4) & (a[:, 1] != 3)),
}


def monks(problem: int, seed: int = 0) -> tuple[Split, Split]:
    """One of the three MONK's problems, made from its rule: robots of six attributes, one of which is in the club.

    1: head and body have the same shape, or the jacket is red. 2: exactly two attributes have their first value.
    3: a green jacket and a sword, or neither a blue jacket nor an octagonal body; 5 % of the labels to learn from
    are wrong.

    Args:
        problem: 1, 2 or 3.
        seed: which 124, 169 or 122 of the 432 robots are learned from (the published numbers, another draw).

    Returns:
        the examples to learn from, and all 432 with their true labels; x (n, 17), one-hot, and labels (n,).

    >>> train, test = monks(3)
    >>> train.x.shape, test.x.shape, int(test.y.sum())
    (torch.Size([122, 17]), torch.Size([432, 17]), 228)

    Thrun et al. 1991. Lesson 04.
    """
    if problem not in MONKS_RULES:
        raise CourseError(f"The MONK's problems are 1, 2 and 3, but you passed problem={problem!r}.")
    attributes = torch.cartesian_prod(*(torch.arange(1, n + 1) for n in MONKS_VALUES))  # (432, 6)
    columns = zip(attributes.T - 1, MONKS_VALUES, strict=True)
    x = torch.cat([torch.nn.functional.one_hot(column, n) for column, n in columns], dim=1).float()
    y = MONKS_RULES[problem](attributes).long()
    generator = torch.Generator().manual_seed(require_positive("seed", seed, at_least=0))
    rows = torch.randperm(len(y), generator=generator)[: MONKS_TRAIN[problem]]
    labels = y[rows]
    if problem == 3:
        wrong = round(0.05 * len(rows))  # the rows are in random order already
        labels = torch.cat([1 - labels[:wrong], labels[wrong:]])
    return Split(x[rows], labels), Split(x, y)


def data_folder() -> Path:
    """Where downloaded data sets lie: $COURSE_DATA if it is set, else the user's data folder."""
    if "COURSE_DATA" in os.environ:
        return Path(os.environ["COURSE_DATA"])
    from platformdirs import user_data_path

    return user_data_path("small-nets") / "data"


# torchvision's class; its keyword for the training part; images of the validation split
DOWNLOADS = {
    "mnist": ("MNIST", 5000),
    "fashion_mnist": ("FashionMNIST", 5000),
    "usps": ("USPS", 500),
    "cifar10": ("CIFAR10", 5000),
}


def load_download(name: str, seed: int, folder: Path) -> Dataset:
    """A data set of torchvision's, with a random part of its training images as validation split."""
    class_name, n_validation = DOWNLOADS[name]
    learn, test = (read_part(name, class_name, folder, train=train) for train in (True, False))
    order = torch.randperm(len(learn), generator=torch.Generator().manual_seed(seed))
    held, kept = order[:n_validation], order[n_validation:]
    return Dataset(name, Split(learn.x[kept], learn.y[kept]), Split(learn.x[held], learn.y[held]), test)


def read_part(name: str, class_name: str, folder: Path, *, train: bool) -> Split:
    """One part of a data set of torchvision's, downloaded if it is not there."""
    make_folder(folder)
    import torchvision.datasets

    build = getattr(torchvision.datasets, class_name)
    part = explain_failures(name, folder, lambda: build(str(folder), train=train, download=True))
    return as_split(part)


def make_folder(folder: Path) -> None:
    """Make the data folder, or say why it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f"The data folder {folder} cannot be made ({error.strerror}).\n"
            "Pass another one, load(..., folder='my-data'), or set COURSE_DATA to it."
        ) from None


def explain_failures(name: str, folder: Path, read: Callable[[], object]) -> object:
    """Run torchvision's reader; say in the learner's words what went wrong."""
    try:
        return read()
    except PermissionError as error:
        raise CourseError(
            f"The data folder {folder} cannot be written to ({error.filename}).\n"
            "Pass another one, load(..., folder='my-data'), or set COURSE_DATA to it."
        ) from None
    except Exception as error:  # torchvision raises RuntimeError, URLError, EOFError, ValueError, struct.error, ...
        if "URL" in type(error).__name__ or "urlopen" in str(error) or "Error downloading" in str(error):
            reason = f"could not be downloaded to {folder}: there is no network, or the server does not answer"
        else:
            reason = f"cannot be read: a file in {folder} is damaged or incomplete ({error})"
        raise CourseError(
            f"The data set {name!r} {reason}.\n"
            f"Delete damaged files, then get it with `course data {name}`, or copy the files from a computer that has them with\n"
            f"`course data {name} --from FOLDER`. load('digits') works without any download."
        ) from None


def as_split(part: object) -> Split:
    """Torchvision's images (tensor or array of bytes, channels last if any) as a Split."""
    images = torch.as_tensor(part.data)  # (n, h, w) or (n, h, w, c), 0..255
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    return Split(images.float() / 255, torch.as_tensor(part.targets, dtype=torch.int64))
