"""What runs inside the sandbox, after it was confined: define the answer, call it on the inputs, hand the values back.

Nothing here knows a reference, a verdict or a grade.
"""

from __future__ import annotations

import builtins
import contextlib
import linecache
import random
import sys
import types
from collections.abc import Callable

import numpy
import torch

import course_lib
from course_lib.grading import confinement
from course_lib.rubrics.verbs import CourseImportRefused, Outcome, course_imports_refused, explain, run_case
from course_lib.rubrics.wire import pack, unpack

SENDABLE = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
}  # fmt: skip
COURSE_CALLS = ("check", "hint", "solution", "quiz", "predict", "begin", "display")
QUIET_ROOMS = ("checking", "lesson", "widgets", "viz")
PROBLEM = 300  # characters of an error's message


def answer(job: bytes) -> bytes:
    """Run one job and pack its outcomes; whatever the answer raises becomes an outcome."""
    values = unpack(job)
    try:
        for start in (torch.manual_seed, numpy.random.seed, random.seed):
            start(0)  # an answer that draws numbers gives the same ones in a regrade
        function = define(values["name"], values["setup"], values["code"])
        outcomes = [outcome_of(function, values["verb"], tuple(inputs)) for inputs in values["cases"]]
        return pack([crossing(outcome) for outcome in outcomes])
    except BaseException as error:  # SystemExit and a KeyboardInterrupt of its own making end an answer, not us
        if isinstance(error, MemoryError):
            confinement.release_memory_reserve()
        return pack([problem(error)] * len(values["cases"]))


def define(name: str, setup: list[str], code: str) -> object:
    """Run the set-up cells and the answer's cell; a line that fails after the function was defined does no harm."""
    module = notebook_module()
    trouble = None
    with course_imports_refused(len):
        for place, cell in enumerate(setup):
            trouble = failure(module, cell, f"set-up cell {place + 1}") or trouble
        module.__dict__.pop(name, None)
        own = failure(module, code, "your answer")
    if name in module.__dict__:
        return module.__dict__[name]
    raise own or trouble or NameError(f"there is no `{name}` in this cell: keep the function's name")


def notebook_module() -> types.ModuleType:
    """A fresh `__main__`, with the course's own calls as words that do nothing."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    for room in QUIET_ROOMS:
        quiet = types.ModuleType(f"course_lib.{room}")
        quiet.__getattr__ = silent
        sys.modules[quiet.__name__] = quiet
        setattr(course_lib, room, quiet)
    calls = {name: silent(name) for name in COURSE_CALLS}
    vars(module).update(calls, get_ipython=Magics(module).shell, __builtins__=builtins)
    return module


def silent(name: str) -> Callable[..., None]:
    """A function that does nothing, for what a notebook may call but a grade does not need."""
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *arguments, **keywords: None


def failure(module: types.ModuleType, source: str, title: str) -> BaseException | None:
    """Run a cell and return what it raised; its lines are remembered, so that an error can quote them."""
    try:
        code = compiled(source, title)
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        return error
    return None


def compiled(source: str, title: str) -> types.CodeType:
    """The cell as code; only a cell that is not plain Python needs IPython, to translate its magics."""
    for text in (lambda: source, lambda: translated(source)):
        with contextlib.suppress(SyntaxError):
            code = compile(text(), title, "exec", dont_inherit=True)
            linecache.cache[title] = (len(source), None, source.splitlines(keepends=True), title)
            return code
    return compile(source, title, "exec", dont_inherit=True)


def translated(source: str) -> str:
    """`%matplotlib inline` and `!pip list` as calls of get_ipython()."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


class Magics:
    """What get_ipython() gives in a sandbox: cell magics that run their cell, and silence."""

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module

    def shell(self) -> Magics:
        """The stand-in itself."""
        return self

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        """%%time, %%capture and the like run the cell; anything else is left out."""
        if name in ("time", "timeit", "capture"):
            exec(compiled(cell, "your answer"), self.module.__dict__)

    def run_line_magic(self, name: str, line: str, *more: object) -> None:
        """%matplotlib inline and the like: nothing to do here. `%time x = f()` runs its line."""
        if name in ("time", "timeit"):
            exec(compiled(line, "your answer"), self.module.__dict__)

    def system(self, command: str) -> None:
        """!command: not here."""

    def getoutput(self, command: str) -> list[str]:
        """`x = !command`: not here."""
        return []


def outcome_of(function: object, verb: str, inputs: tuple) -> Outcome:
    """One call; also what is no ordinary exception ends this case only."""
    try:
        return run_case(function, verb, inputs)
    except BaseException as error:
        return problem(error)


def problem(error: BaseException) -> Outcome:
    """An error as an outcome."""
    if isinstance(error, MemoryError):
        confinement.release_memory_reserve()
    name = "CourseImportRefused" if isinstance(error, CourseImportRefused) else type(error).__name__
    try:
        return Outcome(error=name, message=explain(error)[:PROBLEM])
    except BaseException:  # its own __str__ may raise
        return Outcome(error=name, message="(the error cannot describe itself)")


def crossing(outcome: Outcome) -> Outcome:
    """The outcome as it can be sent: a result that is no number, tensor, string or collection is only named."""
    try:
        value = plain(outcome.value)
        made = Outcome(value, outcome.error, outcome.message[:PROBLEM], outcome.changed_inputs)
        pack(made)
        return made
    except MemoryError as error:
        return problem(error)
    except BaseException:
        return Outcome(f"a {type(outcome.value).__name__}", outcome.error, "", outcome.changed_inputs)


def plain(value: object) -> object:
    """Collections of what can be sent; anything else becomes the name of its kind."""
    if isinstance(value, torch.Tensor):
        return value if value.dtype in SENDABLE else f"a tensor of {value.dtype}"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"a {type(value).__name__}"


def practise() -> None:
    """Use once what every answer uses, so that its first call is not its slowest."""
    job = {
        "name": "f", "verb": "call_with_gradients", "setup": [], "code": "def f(x): return (x @ x).softmax(0)",
        "cases": [[torch.ones(2, 2)]],
    }  # fmt: skip
    own = {name: sys.modules.get(name) for name in ("__main__", *(f"course_lib.{room}" for room in QUIET_ROOMS))}
    answer(pack(job))
    for name, module in own.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module
