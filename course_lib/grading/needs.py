"""What a cell binds and uses, and what an answer needs from the other cells of its notebook.

A helper, an import or a constant in another cell is found wherever it stands, while training and plots are left out.
Nothing is executed here: Python's own parser and symbol tables say which names a statement binds and which it uses.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

MAGIC_LINE = re.compile(r"^([ \t]*)(?:[%!?]|[\w, \t]+=[ \t]*[%!]|[\w.]+\?{1,2}[ \t]*$).*$", re.MULTILINE)
WRAPPER = re.compile(r"\A\s*%%(?:time|timeit|capture|prun|memit)\b[^\n]*")
STAR_IMPORT = re.compile(r"\s*from\s+[\w.]+\s+import\s*\*")
LONGEST_CELL = 100_000  # characters
MOST_STATEMENTS = 500  # of one cell
ONLY_IN_NOTEBOOKS = ("course_lib.checking", "course_lib.lesson")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Statement:
    """One top-level statement: its text, the global names it binds, and those it uses."""

    text: str
    binds: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Code:
    """What is known about a cell: its statements, the functions it makes, and which of them are still stubs."""

    statements: tuple[Statement, ...] = ()
    functions: frozenset[str] = frozenset()
    stubs: frozenset[str] = frozenset()

    @property
    def binds(self) -> frozenset[str]:
        """All names that the cell binds."""
        return frozenset().union(*(statement.binds for statement in self.statements))


def unwrapped(source: str) -> str:
    """The cell without a first line such as %%time; line numbers stay as they are.

    >>> unwrapped("%%time\\nx = 1")
    '\\nx = 1'
    """
    return WRAPPER.sub("", source, count=1)


@lru_cache(maxsize=2048)
def analysed(source: str) -> Code:
    """What a cell binds and uses; of a cell that is not Python, nothing is known but the functions its lines begin.

    >>> code = analysed("import torch.nn as nn\\ndef f(x): return nn.ReLU()(x)\\ndef g(x): ...")
    >>> sorted(code.binds), sorted(code.functions), sorted(code.stubs)
    (['f', 'g', 'nn'], ['f', 'g'], ['g'])
    """
    try:
        text, tree = parsed(unwrapped(source))
        nodes = [node for node in tree.body if not only_for_notebook(node)]
        lines = text.encode().split(b"\n")
        pieces = [piece(lines, node) for node in nodes[:MOST_STATEMENTS]]
        return Code(
            tuple(Statement(code, *names_in(code)) for code in pieces),
            frozenset(name for node in tree.body for name in functions_in(node)),
            frozenset(stubs_in(tree)),
        )
    except UNREADABLE:
        return Code(functions=frozenset(re.findall(r"^(?:async\s+)?(?:def|class)\s+(\w+)", source, re.MULTILINE)))


def parsed(source: str) -> tuple[str, ast.Module]:
    """The text that Python's parser takes, and its tree; lines that are magics or commands become `pass`."""
    if len(source) > LONGEST_CELL:
        raise ValueError("too long to be an answer")
    source = source.replace("\r\n", "\n").replace("\r", "\n")  # as the parser counts lines
    try:
        return source, ast.parse(source)
    except SyntaxError:
        plain = MAGIC_LINE.sub(r"\1pass", source)
        return plain, ast.parse(plain)


def piece(lines: list[bytes], node: ast.stmt) -> str:
    """The text of one statement, with its decorators; the tree counts columns in bytes."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    whole = lines[first - 1 : node.end_lineno]
    whole[-1] = whole[-1][: node.end_col_offset]
    whole[0] = whole[0][node.col_offset if first == node.lineno else 0 :]
    return b"\n".join(whole).decode()


def only_for_notebook(node: ast.stmt) -> bool:
    """Whether a statement imports what only a notebook needs: check, hint, begin."""
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ONLY_IN_NOTEBOOKS)


def names_in(code: str) -> tuple[frozenset[str], frozenset[str]]:
    """The global names that a piece of code binds, and those that it uses, its inner functions included.

    >>> binds, uses = names_in("def f(x, y=z): return g(x)")
    >>> sorted(binds), sorted(uses)
    (['f'], ['g', 'z'])
    """
    table = symtable.symtable(code, "cell", "exec")
    symbols = table.get_symbols()
    binds = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in symbols if symbol.is_referenced()}
    return frozenset(binds), frozenset(uses.union(globals_of(table.get_children())))


def globals_of(tables: Iterable[symtable.SymbolTable]) -> Iterator[str]:
    """The global names used by functions and classes, at any depth."""
    for table in tables:
        yield from (s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced())
        yield from globals_of(table.get_children())


def functions_in(node: ast.stmt) -> Iterator[str]:
    """The functions that a statement makes: by def, class or lambda, also below an `if` or a `try`."""
    if isinstance(node, FUNCTIONS):
        yield node.name
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    else:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, (ast.stmt, ast.excepthandler)):
                yield from functions_in(inner)


def stubs_in(tree: ast.Module) -> Iterator[str]:
    """The functions that still do nothing: `raise NotImplementedError`, `pass` or `...`; the last of a name decides."""
    last = {node.name: node for node in tree.body if isinstance(node, FUNCTIONS)}
    return (name for name, node in last.items() if all(map(does_nothing, node.body)))


def does_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, `pass`, `...` or `raise NotImplementedError`."""
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Raise(exc=ast.Name(id="NotImplementedError")):
            return True
        case ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"))):
            return True
    return False


def needed(code: str, others: Iterable[Statement]) -> tuple[str, ...]:
    """The statements that bind what `code` uses, and what they use in turn: each after what it needs.

    >>> helpers = analysed("y = helper(1)\\nslow = train()\\ndef helper(x): return x").statements
    >>> needed("def answer(): return y", helpers)
    ('def helper(x): return x', 'y = helper(1)')
    """
    binders: dict[str, list[Statement]] = {}
    taken: dict[str, None] = {}
    for statement in others:
        for name in statement.binds:
            binders.setdefault(name, []).append(statement)
        if STAR_IMPORT.match(statement.text):  # whose names nobody can know before it runs
            taken[statement.text] = None
    waiting = [(name, False) for own in analysed(code).statements for name in sorted(own.uses, reverse=True)]
    seen: set[str] = set()
    while waiting:  # depth first, without recursion: a chain of helpers may be long
        name, done = waiting.pop()
        if done:
            taken.update(dict.fromkeys(statement.text for statement in binders[name]))
        elif name in binders and name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(used, False) for statement in binders[name] for used in sorted(statement.uses, reverse=True)]
    return tuple(taken)
