"""The splits, the files of other data sets, and what a learner is told when those are missing or damaged."""

from __future__ import annotations

import gzip
import shutil
import struct
import urllib.error
from pathlib import Path

import pytest
import torch

from course_lib.data import DOWNLOADS, N_FOLDS, data_folder, load, stratified_folds
from course_lib.errors import CourseError

PARTS = ("train", "validation", "test")
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def rows(split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.x}


@pytest.fixture
def offline(monkeypatch):
    """No address answers."""

    def refuse(*arguments, **keywords):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


# --- digits --------------------------------------------------------------------------------------------------------


def test_the_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    table = load_digits()
    everything = sorted(
        (image.tobytes(), int(label))
        for image, label in zip((table.data / 16).astype("float32"), table.target, strict=True)
    )
    data = load("digits", fold=2)
    ours = [
        (image.numpy().tobytes(), int(label))
        for part in PARTS
        for image, label in zip(getattr(data, part).x, getattr(data, part).y, strict=True)
    ]
    assert sorted(ours) == everything
    assert len(ours) == 1797


@pytest.mark.parametrize("fold", range(N_FOLDS))
def test_splits_are_disjoint_stratified_and_the_same_every_time(fold):
    data, again = load("digits", fold=fold), load(fold=fold)
    pieces = [rows(getattr(data, part)) for part in PARTS]
    assert len(set.union(*pieces)) == sum(map(len, pieces)) == 1797  # no image occurs twice
    everyone = sum(torch.bincount(getattr(data, part).y) for part in PARTS)
    for part in PARTS:
        split = getattr(data, part)
        assert torch.equal(split.x, getattr(again, part).x)
        assert torch.equal(split.y, getattr(again, part).y)
        assert (split.x.dtype, split.y.dtype) == (torch.float32, torch.int64)
        assert split.x.shape == (len(split), 1, 8, 8)
        assert 0 <= split.x.min() < split.x.max() <= 1
        shares = everyone * len(split) / 1797
        assert (torch.bincount(split.y, minlength=10) - shares).abs().max() < 1.5
        assert (split.y[1:] < split.y[:-1]).any(), "sorted by class: a batch in order would hold one class"
    assert len(data.test) in (359, 360)
    assert (data.input_shape, data.n_classes) == ((1, 8, 8), 10)


def test_the_test_folds_cover_every_digit_once():
    folds = [rows(load("digits", fold=fold).test) for fold in range(N_FOLDS)]
    assert len(set.union(*folds)) == sum(map(len, folds)) == 1797


def test_stratified_folds_differ_by_one_at_most():
    y = torch.tensor([0] * 7 + [1] * 11 + [2] * 5)
    folds = stratified_folds(y, 4, seed=1)
    assert sorted(torch.cat(folds).tolist()) == list(range(23))
    assert {len(fold) for fold in folds} == {5, 6}
    for label in range(3):
        shares = [int((y[fold] == label).sum()) for fold in folds]
        assert max(shares) - min(shares) <= 1
    assert not torch.equal(folds[0], stratified_folds(y, 4, seed=2)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "minst"}, "name must be 'digits' or 'mnist' or .* but you passed 'minst'"),
        ({"name": None}, "you passed None"),
        ({"fold": 5}, "5 folds, 0 to 4, but you passed fold=5"),
        ({"fold": -1}, "fold must be a whole number of at least 0"),
        ({"fold": 0.5}, "fold must be a whole number"),
    ],
)
def test_wrong_names_and_folds(arguments, words):
    with pytest.raises(CourseError, match=words):
        load(**arguments)


# --- files that are missing or damaged -----------------------------------------------------------------------------


def fake_mnist(folder: Path, *, n: int = 6) -> Path:
    """Raw MNIST files of `n` white images labelled 0 to n - 1, as torchvision leaves them; returns their folder."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        header = struct.pack(">IIII", 2051, n, 28, 28) if "images" in name else struct.pack(">II", 2049, n)
        (raw / name).write_bytes(header + (b"\xff" * (n * 784) if "images" in name else bytes(range(n))))
    return raw


def test_fake_files_load_and_the_fold_draws_the_validation_split(tmp_path, offline, monkeypatch):
    fake_mnist(tmp_path)
    monkeypatch.setitem(DOWNLOADS, "mnist", ("MNIST", 2))
    draws = [load("mnist", fold=fold, folder=tmp_path) for fold in (0, 0, 1, 2)]
    for data in draws:
        assert data.test.x.shape == (6, 1, 28, 28)
        assert bool((data.test.x == 1).all())
        assert data.test.y.tolist() == list(range(6))
        assert len(data.validation) == 2
        assert sorted([*data.train.y.tolist(), *data.validation.y.tolist()]) == list(range(6))
    assert draws[0].validation.y.tolist() == draws[1].validation.y.tolist()
    assert len({tuple(data.validation.y.tolist()) for data in draws}) > 1


@pytest.mark.parametrize("left", [0, 3, 7, 13, -1])
@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_truncated_file_is_named_damaged_and_never_half_used(name, left, tmp_path, offline):
    path = fake_mnist(tmp_path) / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CourseError, match="'mnist' cannot be read") as caught:
        load("mnist", folder=tmp_path)
    for words in (
        str(tmp_path),
        "damaged or incomplete",
        "Delete damaged files",
        "course data mnist",
        "load('digits')",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "usps", "cifar10"])
def test_no_network(name, tmp_path, offline):
    with pytest.raises(CourseError, match="no network") as caught:
        load(name, folder=tmp_path / "new")
    for words in (repr(name), str(tmp_path / "new"), f"course data {name}", "--from FOLDER", "load('digits') works"):
        assert words in str(caught.value)


def test_a_corrupt_archive_is_not_used(tmp_path, offline):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress(b"not MNIST"))
    with pytest.raises(CourseError, match="Delete damaged files") as caught:
        load("mnist", folder=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not (raw / MNIST_FILES[0]).exists()


def test_an_archive_cut_short_after_its_checksum(tmp_path, offline, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    whole = gzip.compress(bytes(range(256)) * 40)
    for name in MNIST_FILES:
        (raw / f"{name}.gz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", lambda *_: True)
    with pytest.raises(CourseError, match="damaged or incomplete"):
        load("mnist", folder=tmp_path)
    with pytest.raises(CourseError, match="damaged or incomplete"):  # what the first try left behind
        load("mnist", folder=tmp_path)


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    for folder in (tmp_path / "data", tmp_path / "data" / "deeper"):
        with pytest.raises(CourseError, match="cannot be made(.|\n)*COURSE_DATA"):
            load("mnist", folder=folder)


def test_a_folder_that_must_not_be_written_to(tmp_path, monkeypatch, offline):
    def refuse(path, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("os.makedirs", refuse)
        with pytest.raises(CourseError, match="cannot be written to(.|\n)*folder='my-data'(.|\n)*COURSE_DATA"):
            load("mnist", folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.mkdir", refuse)
        with pytest.raises(CourseError, match=r"cannot be made \(Permission denied\)(.|\n)*COURSE_DATA"):
            load("mnist", folder=tmp_path / "new")


def test_where_files_lie(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    assert data_folder().parts[-2:] == ("small-nets", "data")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_scikit_learn_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CourseError, match="uv sync"):
        load("digits")


# --- the real files ------------------------------------------------------------------------------------------------


def test_real_mnist(raw_data, tmp_path, offline, monkeypatch):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in MNIST_FILES:
        shutil.copyfile(raw_data / "MNIST" / "raw" / f"{name}.gz", tmp_path / "MNIST" / "raw" / f"{name}.gz")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    data = load("mnist")
    assert repr(data) == "mnist: 55,000 train, 5,000 validation, 10,000 test; images 1×28×28, 10 classes"
    assert torch.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    learn = torch.bincount(data.train.y) + torch.bincount(data.validation.y)
    assert learn.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (data.test.x.dtype, float(data.test.x.min()), float(data.test.x.max())) == (torch.float32, 0.0, 1.0)
    assert float(data.train.x.mean()) == pytest.approx(0.1307, abs=5e-4)


def test_real_usps(raw_data, tmp_path, offline):
    for path in (raw_data / "USPS").glob("*.bz2"):
        shutil.copyfile(path, tmp_path / path.name)
    data = load("usps", folder=tmp_path)
    assert repr(data) == "usps: 6,791 train, 500 validation, 2,007 test; images 1×16×16, 10 classes"
    assert torch.bincount(data.test.y).tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert 0 <= data.test.x.min() < data.test.x.max() <= 1
