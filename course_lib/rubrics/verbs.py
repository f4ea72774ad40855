"""How an answer is run. A separate process that runs one needs this module, `models`, `errors` and torch.

Inputs are tensors, numbers, strings, lists and dictionaries of them, and two kinds of stand-in that become real
objects just before the call, so that they can cross a process border: a `ModelSpec` becomes a network, a `BuiltIn`
one of the callables at the end of this file.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib import models

# What an answer may not call: it is what the exercise asks for.
REFUSED = (
    "attention", "capstone", "distillation", "experiments", "memory", "measure", "models.compact", "models.efficient", "pruning",
    "quantization", "rubrics", "training", "widgets",
)  # fmt: skip


@dataclass(frozen=True)
class ModelSpec:
    """A network that can be sent: a function of course_lib.models, its keywords, and the weights."""

    factory: str
    keywords: dict
    state: dict[str, Tensor]


@dataclass(frozen=True)
class BuiltIn:
    """A callable that can be sent: its name in BUILT_INS, and what it is made from."""

    name: str
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one call gave: a value, or the error it raised; and whether it changed its arguments."""

    value: object = None
    error: str | None = None  # the class of the error
    message: str = ""
    changed_inputs: bool = False


class CourseImportRefused(ImportError):
    """An answer asked course_lib for the very thing it is to write."""


def model_spec(factory: str, *, seed: int, **keywords) -> ModelSpec:
    """A spec with random weights from `seed`, without touching torch's global random state.

    >>> model_spec("mlp", seed=0, sizes=[3, 2]).state["1.weight"].shape
    torch.Size([2, 3])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = getattr(models, factory)(**keywords).state_dict()
    return ModelSpec(factory, keywords, state)


def run_case(function: Callable, verb: str, inputs: tuple, *, trusted: bool = False) -> Outcome:
    """Run the function on fresh copies of the inputs; an error becomes part of the outcome.

    `trusted` is for the rubric's own functions: they may use the library.

    >>> run_case(lambda x: x + 1, "call", (torch.tensor(1),), trusted=True).value
    tensor(2)
    """
    shared: dict = {}
    arguments = [materialise(value, shared) for value in inputs]
    try:
        with contextlib.nullcontext() if trusted else course_imports_refused(function):
            value = VERBS[verb](function, arguments)
    except NotImplementedError as error:
        return Outcome(error="NotImplementedError", message=str(error))
    except Exception as error:
        return Outcome(error=type(error).__name__, message=explain(error))
    return Outcome(sendable(value), changed_inputs=not all(map(unchanged, inputs, arguments)))


def materialise(value: object, shared: dict) -> object:
    """A fresh copy of an input, with stand-ins replaced by what they stand for."""
    match value:
        case Tensor():
            return value.clone()
        case ModelSpec(factory, keywords, state):
            model = getattr(models, factory)(**keywords)
            model.load_state_dict(state)
            return model
        case BuiltIn(name, settings):
            return BUILT_INS[name](shared, **settings)
        case dict():
            return {key: materialise(item, shared) for key, item in value.items()}
        case list() | tuple():
            return type(value)(materialise(item, shared) for item in value)
    return value


def sendable(value: object) -> object:
    """What of a result is compared: a network becomes its weights."""
    if isinstance(value, nn.Module):
        return {name: tensor.detach().clone() for name, tensor in value.state_dict().items()}
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: sendable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [sendable(item) for item in value]
    return value


def unchanged(before: object, after: object) -> bool:
    """Whether an argument still holds what it held before the call."""
    match before:
        case Tensor():
            return before.shape == after.shape and torch.equal(before, after)
        case ModelSpec():
            return unchanged(before.state, after.state_dict())
        case dict():
            return before.keys() == after.keys() and all(unchanged(before[key], after[key]) for key in before)
        case list() | tuple():
            return len(before) == len(after) and all(map(unchanged, before, after))
    return True


def explain(error: Exception) -> str:
    """The error's message, and the line of the answer that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    where = f" (line {frames[0].lineno}: `{frames[0].line}`)" if frames and frames[0].line else ""
    return f"{error}{where}"


# --- an answer may not borrow the answer ---------------------------------------------------------------------------


def refused(module_name: str) -> bool:
    """Whether a module belongs to the rooms an answer may not use."""
    room, *inside = module_name.split(".")
    places = (".".join(inside[:1]), ".".join(inside[:2]))  # "models" and "models.efficient"
    return room == "solutions" or (room == "course_lib" and any(place in REFUSED for place in places))


@contextlib.contextmanager
def course_imports_refused(function: Callable) -> Iterator[None]:
    """While an answer runs, importing the techniques raises; names that were imported before are found too."""
    borrowed = borrowed_name(function)
    if borrowed:
        raise CourseImportRefused(f"`{borrowed}` comes from course_lib: this exercise asks you to write it.")
    plain_import = builtins.__import__

    def guarded_import(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002
        wanted = [name, *(f"{name}.{item}" for item in fromlist or ())]
        by_answer = level == 0 and not (globals or {}).get("__name__", "").startswith(("course_lib", "torch"))
        passed_on = any(is_borrowed(getattr(sys.modules.get(name), item, None)) for item in fromlist or ())
        if by_answer and (passed_on or any(map(refused, wanted))):
            raise CourseImportRefused(f"`{name}` is refused here: this exercise asks you to write it.")
        return plain_import(name, globals, locals, fromlist, level)

    builtins.__import__ = guarded_import
    try:
        yield
    finally:
        builtins.__import__ = plain_import


def borrowed_name(function: Callable, seen: frozenset = frozenset()) -> str | None:
    """The first global name in the answer (or in a function of its own that it calls) that belongs to a refused room."""
    function = inspect.unwrap(function)
    if is_borrowed(function):
        return function.__name__
    if not isinstance(function, types.FunctionType) or function in seen:
        return None
    names = names_in(function.__code__)
    for name in names:
        value = function.__globals__.get(name, passed_on_by_models(name, names, function.__globals__))
        if is_borrowed(value):
            return name
        if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
            found = borrowed_name(value, seen | {function})
            if found:
                return found
    return None


def passed_on_by_models(name: str, names: set[str], known: dict) -> object:
    """What `models.name` is, where the code reaches for course_lib.models: not all that is found there is free to use."""
    reaches = any(item.split(".")[0] == "course_lib" or known.get(item) is models for item in names)
    return getattr(models, name, None) if reaches else None


def is_borrowed(value: object) -> bool:
    """Whether a value is a module or a function of a refused room."""
    if isinstance(value, types.ModuleType):
        return refused(value.__name__) or value is sys.modules.get("course_lib")
    return callable(value) and refused(getattr(value, "__module__", None) or "")


def names_in(code: types.CodeType) -> set[str]:
    """All global names a function uses, those of the functions inside it included."""
    inner = [names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


# --- the verbs -----------------------------------------------------------------------------------------------------


def call(function: Callable, arguments: list) -> object:
    """The function's result."""
    return function(*arguments)


def call_with_gradients(function: Callable, arguments: list) -> object:
    """The result, and the gradients of its sum with respect to every floating-point tensor argument."""
    leaves = [value.requires_grad_() for value in arguments if isinstance(value, Tensor) and value.is_floating_point()]
    result = function(*arguments)
    gradients = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
    return {"result": result, "gradients": list(gradients)}


def call_with_uneven_gradients(function: Callable, arguments: list) -> object:
    """The result r, and the gradients of 1·r₁ + 2·r₂ + …: a backward pass that ignores what comes in is noticed."""
    leaves = [value.requires_grad_() for value in arguments if isinstance(value, Tensor) and value.is_floating_point()]
    result = function(*arguments)
    if not isinstance(result, Tensor):
        return result
    pull = torch.arange(1.0, result.numel() + 1).view_as(result).to(result.dtype)
    gradients = torch.autograd.grad((pull * result).sum(), leaves, allow_unused=True)
    return {"result": result, "gradients": list(gradients)}


def model_after_call(function: Callable, arguments: list) -> object:
    """The weights of the first argument, a network, after the call."""
    function(*arguments)
    return arguments[0]


def call_then_overwrite(function: Callable, arguments: list) -> object:
    """The result as it was; then its tensors are overwritten, so that memory it shares with an argument is noticed."""
    result = sendable(function(*arguments))
    kept = copy.deepcopy(result)
    overwrite(result)
    return kept


def overwrite(value: object) -> None:
    """Fill every tensor in a result with something else, as a training in place would."""
    if isinstance(value, Tensor):
        value.copy_(~value if value.dtype == torch.bool else value + 1)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        overwrite(item)


def call_and_go_back(function: Callable, arguments: list) -> object:
    """What a checkpoint must get right. Arguments: a network, its input, and whether that input needs a gradient.

    The result r; the gradients of 1·r₁ + 2·r₂ + …; whether autograd kept hardly more than the input in between; how
    often the network ran; and the next random numbers after it all.
    """
    network, x, needs = arguments
    runs: list[int] = []
    with torch.random.fork_rng(devices=[]):
        kept = bytes_kept(network, lambda: function(network, x.clone().requires_grad_(needs)))
        hook = network.register_forward_hook(lambda *_: runs.append(1))
        torch.manual_seed(0)
        result = function(network, x.requires_grad_(needs))
        if not isinstance(result, Tensor):
            return result
        torch.rand(2)  # as a later layer would
        pull = torch.arange(1.0, result.numel() + 1).view_as(result)
        (pull * result).sum().backward()
        following = torch.rand(3)
    hook.remove()
    return {
        "result": result,
        "gradient of x": x.grad,
        "gradients of the parameters": {name: p.grad for name, p in network.named_parameters()},
        "keeps hardly more than x": kept <= x.nbytes + 10_000,  # a random state is 5,056 bytes
        "runs of the layer": len(runs),
        "the next random numbers": following,
    }


def bytes_kept(network: nn.Module, work: Callable) -> int:
    """What autograd keeps while work() runs, the network's parameters left out."""
    kept, exists = {}, {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        work()
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in exists)


def call_and_watch_size(function: Callable, arguments: list) -> object:
    """The result, and whether a tensor was made on the way that is over eight times as large as any argument."""
    with SizeWatcher() as watcher:
        result = function(*arguments)
    largest = max(value.numel() for value in arguments if isinstance(value, Tensor))
    return {"result": result, "made a far larger tensor on the way": watcher.largest > 8 * largest}


class SizeWatcher(TorchDispatchMode):
    """Sees every operation; `largest` is the most numbers that one result had."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation, then look at its results."""
        out = func(*args, **(kwargs or {}))
        sizes = [
            value.numel() for value in (out if isinstance(out, (list, tuple)) else [out]) if isinstance(value, Tensor)
        ]
        self.largest = max(self.largest, *sizes, 0)
        return out


VERBS = {
    "call": call,
    "call_and_watch_size": call_and_watch_size,
    "call_and_go_back": call_and_go_back,
    "call_with_gradients": call_with_gradients,
    "call_with_uneven_gradients": call_with_uneven_gradients,
    "call_then_overwrite": call_then_overwrite,
    "model_after_call": model_after_call,
}


# --- callables given to an answer ----------------------------------------------------------------------------------


def fake_work(shared: dict, *, times_ms: list[float]) -> Callable[[], None]:
    """Work that only pretends to take time: the k-th call moves the fake clock by times_ms[k] (the last one repeats)."""
    shared.update(now=0.0, calls=0)

    def work() -> None:
        shared["now"] += times_ms[min(shared["calls"], len(times_ms) - 1)] / 1000
        shared["calls"] += 1

    return work


def fake_clock(shared: dict) -> Callable[[], float]:
    """A clock, in seconds, that only moves while fake_work works."""
    return lambda: shared["now"]


def quadratic_gradient(shared: dict, *, curvature: Tensor, pull: Tensor) -> Callable[[Tensor], Tensor]:
    """The gradient of the loss ½ wᵀ H w − bᵀ w: H w − b."""
    return lambda weight: curvature @ weight - pull


def quadratic_loss(shared: dict, *, curvature: Tensor, minimum: Tensor, lowest: float) -> Callable[[Tensor], float]:
    """The loss lowest + ½ (w − m)ᵀ H (w − m) around its minimum m."""
    return lambda weight: lowest + float((weight - minimum) @ curvature @ (weight - minimum)) / 2


def quadratic_training(
    shared: dict, *, curvature: Tensor, pull: Tensor, lr: float, steps: int
) -> Callable[[dict[str, Tensor], dict[str, Tensor]], None]:
    """A training in place of named tensors on the loss above; what is False in a mask stays where it is."""

    def train(weights: dict[str, Tensor], masks: dict[str, Tensor]) -> None:
        tensors = {name: weights[name] for name in sorted(weights)}
        for _ in range(steps):
            flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
            slopes = (curvature @ flat - pull).split([tensor.numel() for tensor in tensors.values()])
            for (name, tensor), slope in zip(tensors.items(), slopes, strict=True):
                tensor.sub_(lr * slope.view_as(tensor) * masks.get(name, torch.tensor(True)))

    return train


def fake_quantizer(shared: dict, *, steps: int) -> Callable[[Tensor], Tensor]:
    """A symmetric grid of `steps` steps to each side, just wide enough for the tensor it is given."""

    def put_on_grid(values: Tensor) -> Tensor:
        scale = values.abs().max() / steps
        return (values / scale).round() * scale

    return put_on_grid


class HeldUntilBackward(torch.autograd.Function):
    """Logits as they are; their places count as memory in use until the backward pass comes by."""

    @staticmethod
    def forward(ctx, logits: Tensor, memory: dict) -> Tensor:
        """Take the memory, if there is enough."""
        ctx.memory, ctx.places = memory, logits.shape[:-1].numel()
        memory["held"] = memory.get("held", 0) + ctx.places
        if memory["held"] > memory["most"]:
            raise MemoryError(f"{memory['held']} tokens wait in memory for their backward pass; {memory['most']} fit.")
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Give it back."""
        ctx.memory["held"] -= ctx.places
        return gradient, None


def forward_in_small_memory(shared: dict, *, most: int) -> Callable[[Tensor, Tensor], Tensor]:
    """(weight, x) -> the logits x wᵀ; more than `most` places that wait for their backward pass do not fit."""
    shared["most"] = most
    return lambda weight, x: HeldUntilBackward.apply(x @ weight.T, shared)


BUILT_INS = {
    "fake_quantizer": fake_quantizer,
    "fake_work": fake_work,
    "fake_clock": fake_clock,
    "forward_in_small_memory": forward_in_small_memory,
    "quadratic_gradient": quadratic_gradient,
    "quadratic_loss": quadratic_loss,
    "quadratic_training": quadratic_training,
}
