"""Honest submissions as they really come: the same answers to lesson 02 in notebooks that are untidy, each in its own way.

In all of them 2.1, 2.2 and 2.4 are right, 2.3 makes a mistake that has a name, and 2.5 is left out: 5 of 10 points.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

EXPECTED = {"2.1": "passed", "2.2": "passed", "2.3": "failed", "2.4": "passed", "2.5": "not attempted"}
POINTS = 5.0
MISTAKE = "signed product"

SETUP = "from collections.abc import Callable\n\nimport torch\nfrom torch import Tensor, nn"
ANSWERS = {
    "2.1": '''# Exercise 2.1
def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Mark the weights to keep."""
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())]] = False
    return mask.view_as(weight)''',
    "2.2": '''# Exercise 2.2
def network_masks(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    """Make a mask for every weight of a network."""
    weights = {name: parameter for name, parameter in parameters.items() if parameter.dim() > 1}
    if scope == "layer":
        return {name: magnitude_mask(weight, sparsity) for name, weight in weights.items()}
    together = torch.cat([weight.flatten() for weight in weights.values()])
    pieces = magnitude_mask(together, sparsity).split([weight.numel() for weight in weights.values()])
    return {name: piece.view_as(weights[name]) for name, piece in zip(weights, pieces)}''',
    "2.3": '''# Exercise 2.3
def gradient_criterion(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Score every weight of a network by |w · ∂L/∂w|."""
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}
    gradients = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(weights.values()))
    return {name: (weight * slope).detach() for (name, weight), slope in zip(weights.items(), gradients)}''',
    "2.4": '''# Exercise 2.4
def group_scores(weight: Tensor, granularity: str) -> Tensor:
    """Score the groups of a convolution's weight by their mean magnitude."""
    return weight.abs().mean(dim=(2, 3) if granularity == "kernel" else (1, 2, 3))''',
    "2.5": '''# Exercise 2.5
def masked_descent(weight: Tensor, velocity: Tensor, mask: Tensor, gradient: Callable, steps: int, lr: float, momentum: float) -> Tensor:
    """Train a pruned weight for some steps of gradient descent with momentum."""
    raise NotImplementedError("Exercise 2.5")''',
}  # fmt: skip
NAMES = ("magnitude_mask", "network_masks", "gradient_criterion", "group_scores", "masked_descent")
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def code(source: str, outputs: list | None = None, **metadata: object) -> dict:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": metadata,
        "outputs": outputs or [],
        "execution_count": None,
    }


def text(source: str) -> dict:
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def answer(number: str) -> dict:
    return code(ANSWERS[number], small_nets={"exercise": number})


def tidy() -> list[dict]:
    """The cells of a notebook as it was meant."""
    start = [
        text("# 02 · Exercises"),
        code("from course_lib.lesson import begin\n\nbegin(lesson=2)"),
        code(SETUP, tags=["setup"]),
    ]
    pairs = [
        [text(f"## {number}"), answer(number), code(f"check({name})")]
        for number, name in zip(ANSWERS, NAMES, strict=True)
    ]
    return start + [cell for pair in pairs for cell in pair]


def notebook(cells: list[dict], *, minor: int = 5, **metadata: object) -> bytes:
    """A notebook file of format 4."""
    cells = copy.deepcopy(cells)
    for number, cell in enumerate(cells):
        if minor >= 5:
            cell["id"] = f"cell-{number}"
        cell["source"] = cell["source"].splitlines(keepends=True)
    given = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}} | metadata
    return json.dumps({"cells": cells, "metadata": given, "nbformat": 4, "nbformat_minor": minor}).encode()


def changed(number: str, change: Callable[[str], str]) -> list[dict]:
    """The tidy cells with one answer's text changed."""
    cells = tidy()
    for cell in cells:
        if cell["metadata"].get("small_nets") == {"exercise": number}:
            cell["source"] = change(cell["source"])
    return cells


def every(change: Callable[[str], str]) -> list[dict]:
    """The tidy cells with every code cell's text changed."""
    return [cell | {"source": change(cell["source"])} if cell["cell_type"] == "code" else cell for cell in tidy()]


def without_metadata(cells: list[dict], **instead: object) -> list[dict]:
    return [cell | {"metadata": dict(instead)} for cell in cells]


def unmarked(source: str) -> str:
    """The code without our comment."""
    return source.partition("\n")[2] if source.startswith("# Exercise") else source


# --- one function for each kind of untidiness ----------------------------------------------------------------------


def plain() -> bytes:
    return notebook(tidy())


def prints_and_warnings() -> bytes:
    noise = '\n    import warnings\n    warnings.warn("careful")\n    print("sparsity is", sparsity, weight.shape)\n    mask ='
    cells = changed("2.1", lambda source: source.replace("\n    mask =", noise, 1))
    return notebook([*cells, code("print(magnitude_mask(torch.randn(3), 0.5))", [stream("tensor([True])\n" * 500)])])


def stream(said: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": said}


def progress_bars() -> bytes:
    bar = "\n    import sys\n    for k in range(50):\n        sys.stderr.write(f'\\r{k} of 50')\n    sys.stderr.flush()\n    mask ="
    tqdm = "try:\n    from tqdm.auto import tqdm\nexcept ImportError:\n    tqdm = lambda items, **keywords: items"
    looped = "\n    return {name: (weight * slope).detach() for (name, weight), slope in tqdm(list(zip(weights.items(), gradients)))}"
    cells = changed("2.1", lambda source: source.replace("\n    mask =", bar, 1))
    for cell in cells:
        if "def gradient_criterion" in cell["source"]:
            cell["source"] = cell["source"].rpartition("\n")[0] + looped
    return notebook([code(tqdm), *cells])


def helpers_in_extra_cells() -> bytes:
    """A constant, a lambda, a class and an import that other cells of the notebook define."""
    helpers = "import math\nKERNEL = 'kernel'\nsquare = lambda x: x * x\n\nclass Dims:\n    kernel = (2, 3)\n    filter = tuple(range(1, int(math.sqrt(square(4)))))"
    cells = changed(
        "2.4",
        lambda s: (
            s.rpartition("\n")[0]
            + "\n    return weight.abs().mean(dim=Dims.kernel if granularity == KERNEL else Dims.filter)"
        ),
    )
    return notebook([text("my helpers"), code(helpers), *cells, code("x = 3"), code("")])


def shuffled_cells() -> bytes:
    """Every cell after those that need it: the set-up last, the helper of 2.2 below it."""
    return notebook(tidy()[::-1])


def slow_imports_and_training() -> bytes:
    """Imports that take their time, and a training loop that would take hours: it is not part of any answer."""
    training = (
        "model = nn.Linear(2000, 2000)\nfor step in range(10**9):\n    model(torch.randn(2000, 2000)).sum().backward()"
    )
    return notebook(
        [
            code("import scipy.stats, matplotlib.pyplot as plt, torchvision"),
            code(training),
            *tidy(),
            code("while True: pass"),
        ]
    )


def failing_cells() -> bytes:
    """Cells between the answers that fail: a plot, a package that is not there, a typing error."""
    broken = [
        "plt.plot(history)",
        "import a_package_that_is_not_here",
        "def unfinished(:",
        "1 / 0",
        "raise KeyboardInterrupt",
    ]
    return notebook(
        [code(broken[0]), *[cell for pair in zip(tidy(), map(code, broken * 4), strict=False) for cell in pair]]
    )


def figures() -> bytes:
    picture = {
        "output_type": "display_data",
        "data": {"image/png": PNG * 2000, "text/plain": "<Figure>"},
        "metadata": {},
    }
    plot = "import matplotlib.pyplot as plt\nplt.hist(torch.randn(100))\nplt.show()"
    return notebook(
        [*tidy(), code(plot, [picture] * 5)], widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}}
    )


def left_over_lines() -> bytes:
    """Below the functions, in the same cells: checks, tests that fail, prints, plots, calls of what is not there."""
    more = "\n\ncheck(magnitude_mask)\nprint(magnitude_mask(torch.ones(2), 0.5))\nassert magnitude_mask(torch.ones(2), 0.5).all()\nplt.show()"
    cells = changed("2.1", lambda source: source + more)
    for cell in cells:
        if "def group_scores" in cell["source"]:
            cell["source"] += "\n\ngroup_scores(torch.randn(2, 2), 'filter')\ndisplay(group_scores)"
    return notebook(cells)


def magics() -> bytes:
    cells = changed("2.1", lambda source: "%%time\n" + source)
    for cell in cells:
        if "def network_masks" in cell["source"]:
            cell["source"] = (
                "%matplotlib inline\n!pip list\n" + cell["source"] + "\n\nfiles = !ls\n%timeit 1 + 1\ntorch.cat?"
            )
        if "def group_scores" in cell["source"]:
            cell["source"] = "%%capture said\n" + cell["source"]
    return notebook([code("%load_ext autoreload\n%autoreload 2\n!nvidia-smi\nimport numpy as np"), *cells])


def another_kernel() -> bytes:
    """Saved with a kernel that exists nowhere else, in an older version of the format, without cell ids."""
    spec = {"name": "conda-env-dl-py", "language": "python", "display_name": "Python [conda env:dl]"}
    return notebook(
        tidy(), minor=2, kernelspec=spec, language_info={"name": "python", "version": "3.6.9"}, toc={"x": 1}
    )


def foreign_language() -> bytes:
    """The kernel's metadata say R, because the file was opened there by mistake."""
    return notebook(
        tidy(), kernelspec={"name": "ir", "language": "R", "display_name": "R"}, language_info={"name": "R"}
    )


def colab() -> bytes:
    """Colab keeps the comment, and replaces all metadata by its own."""
    mount = "from google.colab import drive\ndrive.mount('/content/drive')\n!pip install -q small-nets"
    cells = without_metadata(
        [code(mount), *tidy()],
        id="aBcD1234",
        colab={"base_uri": "https://localhost:8080/"},
        executionInfo={"status": "ok"},
    )
    return notebook(cells, minor=0, colab={"provenance": [], "toc_visible": True}, accelerator="GPU")


def colab_titles() -> bytes:
    return notebook(without_metadata(every(lambda source: source.replace("# Exercise", "#@title Exercise"))), minor=0)


def vscode() -> bytes:
    """VS Code with a formatter that removed comments: only the functions' names are left."""
    return notebook(without_metadata(every(unmarked), vscode={"languageId": "python"}), minor=2, orig_nbformat=4)


def renamed_cells() -> bytes:
    """Other ids, other headings, a comment in other words above the answer."""
    cells = every(lambda source: source.replace("# Exercise", "# my solution, version 3\n# exercise"))
    return notebook(without_metadata(cells, tags=["mine"], deletable=False), author="me")


def everything_in_one_cell() -> bytes:
    return notebook([code("\n\n".join([SETUP, *ANSWERS.values()]))])


def duplicated_cells() -> bytes:
    """An old attempt above, an untouched stub and a test in a copy of the cell below."""
    old = code(
        "# Exercise 2.1\ndef magnitude_mask(weight, sparsity):\n    return weight > 0", small_nets={"exercise": "2.1"}
    )
    stub = code(
        '# Exercise 2.4\ndef group_scores(weight, granularity):\n    """Score."""\n    raise NotImplementedError("Exercise 2.4")',
        small_nets={"exercise": "2.4"},
    )
    test = code("magnitude_mask(torch.randn(5), 0.2)", small_nets={"exercise": "2.1"})
    return notebook([old, *tidy(), stub, test])


def deleted_cells() -> bytes:
    """Prose, set-up, checks and the exercise that was left out are gone."""
    return notebook([cell for cell in tidy() if "def " in cell["source"] and "2.5" not in cell["source"]])


def format_3() -> bytes:
    """Format 3, of 2013."""
    cells = [
        {"cell_type": "code", "language": "python", "input": c["source"], "outputs": [], "collapsed": False, "metadata": c["metadata"]}
        if c["cell_type"] == "code"
        else {"cell_type": "heading", "level": 1, "source": c["source"], "metadata": {}}
        for c in tidy()
    ]  # fmt: skip
    return json.dumps(
        {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells, "metadata": {}}]}
    ).encode()


def windows() -> bytes:
    """Saved by an editor that writes a mark in front and two characters at the end of each line."""
    return b"\xef\xbb\xbf" + notebook(every(lambda source: source.replace("\n", "\r\n")))


def utf_16() -> bytes:
    return notebook(tidy()).decode().encode("utf-16")


def random_state() -> bytes:
    """Sets seeds, threads and print options at the top, as many do."""
    return notebook(
        [
            code(
                "import random\nrandom.seed(1); torch.manual_seed(1); torch.set_printoptions(precision=2)\ntorch.set_num_threads(4)"
            ),
            *tidy(),
        ]
    )


def zipped(data: Callable[[], bytes]) -> Callable[[], bytes]:
    """The notebook in a zip, with what systems and editors leave behind."""

    def make() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("__MACOSX/exercises/._02.ipynb", b"\0\5\26")
            archive.writestr("exercises/.ipynb_checkpoints/02-checkpoint.ipynb", notebook([]))
            archive.writestr("exercises/02_magnitude_pruning.ipynb", data())
            archive.writestr("exercises/notes.txt", "see you")
        return out.getvalue()

    return make


CORPUS: dict[str, tuple[str, Callable[[], bytes]]] = {
    make.__name__: ("02_magnitude_pruning.ipynb", make)
    for make in (
        plain, prints_and_warnings, progress_bars, helpers_in_extra_cells, shuffled_cells, slow_imports_and_training,
        failing_cells, figures, left_over_lines, magics, another_kernel, foreign_language, colab, colab_titles, vscode,
        renamed_cells, everything_in_one_cell, duplicated_cells, deleted_cells, format_3, windows, utf_16, random_state,
    )
} | {"in a zip": ("homework.zip", zipped(plain)), "an odd ending": ("02.ipynb.txt", plain)}  # fmt: skip


def write_corpus(folder: Path) -> Path:
    """Write every submission into a folder of its own."""
    for name, (file, make) in CORPUS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_bytes(make())
    return folder
