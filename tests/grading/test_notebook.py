"""From cells to answers: which cell counts, what an answer needs from others, and what no notebook can do to the reader."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from course_lib.errors import CourseError
from course_lib.grading.needs import analysed, needed
from course_lib.grading.notebook import (
    Cell,
    attempted,
    declared_setup,
    find_answers,
    misplaced,
    read_cells,
)
from course_lib.grading.records import Answer
from course_lib.rubrics.exercise import exercise_of
from tests.grading import untidy

EXERCISES = {key: exercise_of(key) for key in ("0.1", "2.1", "2.2")}
RIGHT = "def magnitude_mask(weight, sparsity):\n    return weight > {}"
STUB = 'def magnitude_mask(weight, sparsity):\n    """Mark."""\n    raise NotImplementedError("Exercise 2.1")'


def found(*cells: Cell, declared: tuple[str, ...] = ()) -> dict[str, Answer]:
    return find_answers(cells, EXERCISES, dict.fromkeys(EXERCISES, declared))


def code(source: str, exercise: str | None = None) -> Cell:
    return Cell("code", source, exercise)


# ---- which cell counts


@pytest.mark.parametrize(
    ("cell", "how"),
    [
        (code(RIGHT.format(1), "2.1"), "id"),
        (code("# Exercise 2.1\n" + RIGHT.format(1)), "marker"),
        (code("import torch\n# exercise 2.1: mine\n" + RIGHT.format(1)), "marker"),
        (code(RIGHT.format(1)), "name"),
        (code("magnitude_mask = lambda weight, sparsity: weight > 1"), "name"),
        (
            code(
                "try:\n    import x\nexcept ImportError:\n    def magnitude_mask(weight, sparsity): return weight > 1"
            ),
            "name",
        ),
        (code("def magnitude_mask(weight, sparsity):\n  return weight >"), "name"),  # not even Python
    ],
)
def test_three_ways_to_find_an_answer(cell: Cell, how: str) -> None:
    answer = found(cell)["2.1"]
    assert (answer.found_by, answer.code) == (how, cell.source)
    assert bool(answer.remarks) == (how != "id")


def test_the_last_that_is_not_a_stub_counts() -> None:
    cells = [
        code(RIGHT.format(1), "2.1"),
        code(RIGHT.format(2)),
        code(STUB, "2.1"),
        code("print(magnitude_mask)", "2.1"),
    ]
    answer = found(*cells)["2.1"]
    assert answer.code == RIGHT.format(2)
    assert answer.remarks[0] == "2 cells answer exercise 2.1; the last one counts (cell 2)."


@pytest.mark.parametrize(
    "source",
    [STUB, "# Exercise 2.1\n\n# later", "", "def magnitude_mask(w, s): ...", "def magnitude_mask(w, s):\n    raise NotImplementedError",
     RIGHT.format(1) + "\n" + STUB],
)  # fmt: skip
def test_a_stub_is_no_attempt(source: str) -> None:
    answer = found(code(source, "2.1"))["2.1"]
    assert not attempted(answer.code, EXERCISES["2.1"])


@pytest.mark.parametrize(
    "source", [RIGHT.format(1), STUB.replace("    raise", "    return weight\n    raise"), "def mask(w, s): return w"]
)
def test_anything_more_is_one(source: str) -> None:
    assert attempted(found(code(source, "2.1"))["2.1"].code, EXERCISES["2.1"])


def test_a_name_alone_does_not_reach_into_another_lesson() -> None:
    """`sparsity` is what lesson 00 asks for, and a fine name for a helper in lesson 02."""
    helper = code("def sparsity(mask): return 1 - mask.float().mean()")
    assert set(found(code(RIGHT.format(1), "2.1"), helper)) == {"2.1"}
    assert set(found(helper)) == {"0.1"}
    assert found(code("sparsity = 0.9")) == {}


def test_what_is_not_code_is_said() -> None:
    cells = [Cell("markdown", RIGHT.format(1), "2.1"), Cell("raw", "x", "9.9")]
    assert found(*cells) == {}
    assert misplaced(cells, EXERCISES) == ("Exercise 2.1 stands in a markdown cell, which is not run.",)


# ---- what an answer needs


def test_an_answer_gets_what_it_uses_and_no_more() -> None:
    helpers = """
import numpy as np, math
from math import *
SCALE = 2
class Rank: order = SCALE
data = load_everything()
model = train(data)
def outer(x): return inner(x) + Rank.order
def inner(x, k=SCALE): return math.pi
"""
    answer = found(
        code(helpers), code("def magnitude_mask(weight, sparsity):\n    data = weight\n    return outer(data)", "2.1")
    )["2.1"]
    assert sorted(answer.setup) == [
        "SCALE = 2", "class Rank: order = SCALE", "def inner(x, k=SCALE): return math.pi", "def outer(x): return inner(x) + Rank.order",
        "from math import *", "import numpy as np, math",
    ]  # fmt: skip
    places = {text.split()[1]: place for place, text in enumerate(answer.setup)}
    assert places["="] < places["Rank:"] < places["outer(x):"]
    assert places["="] < places["inner(x,"] < places["outer(x):"]


def test_other_answers_are_helpers_and_stubs_are_not() -> None:
    second = code("def network_masks(p, s, scope): return magnitude_mask(p, s)", "2.2")
    assert found(second, code(RIGHT.format(1), "2.1"))["2.2"].setup == (RIGHT.format(1),)
    assert found(second, code(STUB, "2.1"))["2.2"].setup == ()


def test_the_handed_out_set_up_is_given_back() -> None:
    """Also to who deleted it; their own imports come after it."""
    own = code("import my_torch as torch")
    answer = found(
        own,
        code("def magnitude_mask(w, s): return torch.ones(1)", "2.1"),
        declared=("import torch\nfrom torch import Tensor",),
    )["2.1"]
    assert answer.setup == ("import torch", "import my_torch as torch")
    assert "import torch" in "".join(declared_setup("2.1"))
    assert declared_setup("101.1") == declared_setup("0.1") == ()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("%time x = 1\ny = 2", {"y"}),
        ("files = !ls\ny = 2", {"y"}),
        ("f?\ny = 2", {"y"}),
        ("%%capture out\ny = 2", {"y"}),
        ("a = 1; b = 2", {"a", "b"}),
        ("@decorate\ndef f(): pass", {"f"}),
        ("if True:\n    def f(): pass\nfor k in range(3): z = k", {"f", "k", "z"}),
        ("from course_lib.checking import check", set()),
        ("def broken(:", set()),
        ("%%bash\nls", set()),
    ],
)
def test_names_that_a_cell_binds(source: str, names: set[str]) -> None:
    assert set(analysed(source).binds) == names


def test_statements_keep_their_decorators_and_their_lines() -> None:
    texts = [
        statement.text for statement in analysed("@one\n@two\ndef f():\n    return 1\na = 1; b = (2,\n3)").statements
    ]
    assert texts == ["@one\n@two\ndef f():\n    return 1", "a = 1", "b = (2,\n3)"]


def test_bytes_and_lines_are_counted_as_the_parser_does() -> None:
    source = 'é = \'ü\'; b = 2\r\nc = """ä\r\nö"""; d = 1\re = 5'
    texts = [statement.text for statement in analysed(source).statements]
    assert texts == ["é = 'ü'", "b = 2", 'c = """ä\nö"""', "d = 1", "e = 5"]


def test_circles_and_long_chains_end() -> None:
    circle = analysed("def a(): return b()\ndef b(): return a()").statements
    assert len(needed("def f(): return a()", circle)) == 2
    chain = [line for k in range(400) for line in analysed(f"x{k} = x{k - 1}").statements]
    assert needed("y = x399", chain)[-1] == "x399 = x398"
    assert len(needed("y = x399", chain)) == 400


# ---- what no notebook can do to the reader


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "damaged"),
        (b"\x80\x81\x00", "damaged"),
        (b"PK\x03\x04", "damaged"),
        (b"[" * 200_000, "damaged"),
        (b'{"cells": ' + b"[" * 200_000, "damaged"),
        (b"1" * 10_000, "damaged"),
        (b"[]", "not a notebook"),
        (b"null", "not a notebook"),
        (b'{"cells": 3}', "not a notebook"),
        (b'{"worksheets": 3, "nbformat": 3}', "old format"),
        (b'{"worksheets": [], "nbformat": "three"}', "format|not a notebook"),
        (b"<html>Log in first</html>", "damaged"),
        (b" " * 33_000_000, "33 MB"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_notebook_is_told(data: bytes, why: str) -> None:
    with pytest.raises(CourseError, match=why):
        read_cells(data)


@pytest.mark.parametrize(
    "cell",
    [
        None, 3, {}, {"cell_type": None}, {"cell_type": "code"}, {"cell_type": "code", "source": None},
        {"cell_type": "code", "source": [1, None, "x"]}, {"cell_type": "code", "source": {"a": 1}},
        {"cell_type": "code", "source": "x", "metadata": []}, {"cell_type": "code", "source": "x", "metadata": {"small_nets": 1}},
        {"cell_type": "code", "source": "x", "metadata": {"small_nets": {"exercise": ["2.1"]}, "tags": {"setup": 1}}},
    ],
    ids=repr,
)  # fmt: skip
def test_a_malformed_cell_costs_nothing_but_itself(cell: object) -> None:
    good = {"cell_type": "code", "source": RIGHT.format(1), "metadata": {"small_nets": {"exercise": "2.1"}}}
    cells = read_cells(json.dumps({"cells": [cell, good]}).encode())
    assert found(*cells)["2.1"].code == RIGHT.format(1)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000, "-" * 90_000 + "1", "x = " + "[" * 90 + "]" * 90, "a." * 30_000 + "b", "x = 1\n" * 15_000,
        ";".join(["x=1"] * 20_000), "lambda: " * 10_000 + "1", "'" * 99_999, "\0", "def magnitude_mask(" + "a," * 30_000 + "): 0",
        "if 1:\n" + "".join(" " * k + "if 1:\n" for k in range(1, 300)), "%" * 90_000, "\\\n" * 40_000, "f'" + "{" * 5000,
        "magnitude_mask\n" * 6000, "x" * 2_000_000,
    ],
    ids=lambda source: repr(source[:12]),
)  # fmt: skip
def test_hostile_code_is_read_in_no_time(source: str) -> None:
    """It is parsed here, outside the sandbox: nothing may make that long, or end it."""
    start = time.process_time()
    good = code(RIGHT.format(1), "2.1")
    with contextlib.suppress(CourseError):  # too much code
        assert found(code(source, "2.2"), code("magnitude_mask\n" + source), good)["2.1"].code == RIGHT.format(1)
    assert time.process_time() - start < 10


def test_a_whole_notebook_of_hostile_code() -> None:
    cells = [code(f"x{k} = {k}; " * 4000) for k in range(18)] + [code(RIGHT.format(1), "2.1")]
    start = time.process_time()
    assert found(*cells)["2.1"].setup == ()
    assert time.process_time() - start < 15


def test_more_cells_than_anybody_writes() -> None:
    with pytest.raises(CourseError, match="1,001 code cells"):
        found(*[code("x")] * 1001)
    start = time.process_time()
    many = [code(f"def network_masks(): return x{k}\nx{k} = magnitude_mask") for k in range(999)] + [
        code(RIGHT.format(1))
    ]
    assert len(found(*many)) == 2
    assert time.process_time() - start < 10


def test_the_corpus_is_what_it_says() -> None:
    """The notebooks that are graded in test_untidy.py really lack what they are said to lack."""
    assert not any(cell.exercise for cell in read_cells(untidy.colab()) + read_cells(untidy.vscode()))
    assert not any("# Exercise" in cell.source for cell in read_cells(untidy.vscode()))
    assert len(read_cells(untidy.everything_in_one_cell())) == 1
    assert read_cells(untidy.format_3())[4].exercise == "2.1"
