"""What a function does with a parameter: which fields of it are all that it takes, or sets; told from its source."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeAlias

from flujo_core.model.slotted import NamedTuple

Chain: TypeAlias = tuple[str, ...]
"""Attributes of a parameter, each of the one before: ``patient.name.first`` is ``("name", "first")``."""

REVEALING = frozenset(
    {"locals", "vars", "eval", "exec", "breakpoint", "_getframe", "currentframe", "stack", "tb_frame"}
)
"""Names by which a function may come to its parameters without naming them."""


class Usage(NamedTuple):
    """What a function does with a parameter.

    Attributes:
        reads: The chains of attributes that it takes.
        sets: The attributes that it sets.
        gives: The chain that is all that it gives, of ``lambda case: case.patients``; or None.
    """

    reads: tuple[Chain, ...] = ()
    sets: tuple[str, ...] = ()
    gives: Chain | None = None


def usage_of(function: Callable[..., Any], parameter: str) -> Usage | None:
    """What a function does with a parameter; None where it may do anything with it, or its source cannot be read."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    return _usage(plain.__code__, parameter) if isinstance(plain, FunctionType) else None


@lru_cache(maxsize=512)
def _usage(code: CodeType, parameter: str) -> Usage | None:
    node = _source_of(code)
    if node is None or parameter not in _parameters(node) or any(_reveals(one) for one in ast.walk(node)):
        return None
    found = _Uses(parameter)
    for one in _body(node):
        found.visit(one)
    if found.escapes:
        return None
    return Usage(tuple(dict.fromkeys(found.reads)), tuple(dict.fromkeys(found.sets)), _given(node, parameter))


def _reveals(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id in REVEALING) or (
        isinstance(node, ast.Attribute) and node.attr in REVEALING
    )


class _Uses(ast.NodeVisitor):
    """Finds what is done with a name.

    Attributes:
        reads: The chains of attributes that are taken.
        sets: The attributes that are set or deleted.
        escapes: Whether anything else is done with it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.reads: list[Chain] = []
        self.sets: list[str] = []
        self.escapes = False

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node, self._name)
        if chain is None:
            self.generic_visit(node)
        elif isinstance(node.ctx, ast.Load):
            self.reads.append(chain)
        else:
            self.sets.append(chain[0])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Attribute) and (chain := _chain(node.target, self._name)):
            self.reads.append(chain)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.escapes = self.escapes or node.id == self._name


def _chain(node: ast.expr, name: str) -> Chain | None:
    """The attributes of a name that an expression takes, one of the other; None if it is something else."""
    found: list[str] = []
    while isinstance(node, ast.Attribute):
        found.append(node.attr)
        node = node.value
    return tuple(reversed(found)) if isinstance(node, ast.Name) and node.id == name else None


Source: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def _given(node: Source, name: str) -> Chain | None:
    """The chain that a function of one expression gives."""
    body = _body(node)
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):  # what documents it
        body = body[1:]
    only = body[0] if len(body) == 1 else None
    value = only.value if isinstance(only, ast.Return | ast.Expr) else None
    return None if value is None else _chain(value, name) or None


def _body(node: Source) -> Sequence[ast.stmt]:
    return [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body


def _source_of(code: CodeType) -> Source | None:
    """The source of a function as a tree, where it can be told which one that is."""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = [one for one in _functions_at(code.co_filename, code.co_firstlineno) if _is(one, code.co_name, names)]
    return found[0] if len(found) == 1 else None


def _is(node: Source, name: str, parameters: Sequence[str]) -> bool:
    return ("<lambda>" if isinstance(node, ast.Lambda) else node.name) == name and _parameters(node) == [*parameters]


def _parameters(node: Source) -> list[str]:
    given = node.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _functions_at(file: str, line: int) -> Iterator[Source]:
    """The functions that begin on a line of a file, with their decorators."""
    linecache.checkcache(file)
    for node in _functions("".join(linecache.getlines(file))):
        first = [node, *([] if isinstance(node, ast.Lambda) else node.decorator_list)]
        if min(one.lineno for one in first) == line:
            yield node


@lru_cache(maxsize=32)
def _functions(source: str) -> Sequence[Source]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    return [one for one in ast.walk(tree) if isinstance(one, Source)]
