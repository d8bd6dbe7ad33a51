"""What functions and agents are: the name by which one is known again, and a digest of what it does.

The digest of a function is made of its bytecode, with constants in the places of their numbers, and jumps told by which
instruction they lead to: it does not change with comments, docstrings, or the lines that it stands on (but, before
Python 3.13, with the lines of some conditions). It does with the minor version of Python, which is why a manifest says
which one that was.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dis import EXTENDED_ARG, hasconst, hasjrel, opmap, opname
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any, Protocol, runtime_checkable

from flujo_core.model.agent import BuildsAgents, ModelAgent, model_name
from flujo_core.model.draft import ATOMS
from flujo_core.model.tool import NamingTools, WithTools, WithToolsets, Wrapper

LENGTH = 12
"""How many hexadecimal digits of a digest are kept."""

WITH_CONSTANT = frozenset(hasconst)
JUMPS = frozenset(hasjrel)
CACHE = bytes((opmap["CACHE"],))
MEANINGLESS = frozenset({opmap["NOP"], opmap["CACHE"], EXTENDED_ARG})
PAIR = re.compile(r"((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)")
PAIRS = {
    code: tuple(opmap[one] for one in found.groups()) for name, code in opmap.items() if (found := PAIR.fullmatch(name))
}
"""Since Python 3.13: instructions that are two in one, which the compiler makes where the two are of one line."""
MAIN = ("__main__", "__mp_main__")
PLACE = re.compile(r" at 0x[0-9a-fA-F]+")


def digest(parts: Iterable[str]) -> str:
    """A short digest of some texts."""
    import hashlib  # noqa: PLC0415 - few runs are resumed, and few nodes have a cache

    told = "".join(f"{part}\0" for part in parts)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def shown(value: object) -> str:
    """``repr``, without the place in memory that it may tell."""
    return PLACE.sub("", repr(value))


# ---------------------------------------------------------------------------------------------------------- functions


def identity_of(function: Callable[..., Any]) -> str:
    """How a function is known again: ``module:qualname``; empty for a lambda, which its node stands for."""
    while isinstance(function, partial):
        function = function.func
    plain: Any = function.__func__ if isinstance(function, MethodType) else function
    named = plain if isinstance(plain, FunctionType | BuiltinFunctionType | type) else type(plain)
    return "" if named.__name__ == "<lambda>" else f"{module_name(named.__module__)}:{named.__qualname__}"


def module_name(name: str | None) -> str:
    """The name that a module can be imported by; of a program, what it would be if it were imported."""
    if name not in MAIN:
        return name or ""
    about = vars(sys.modules[name]) if name in sys.modules else {}
    spec, file = about.get("__spec__"), about.get("__file__")
    if spec is not None:
        return str(spec.name)
    return re.split(r"[/\\]", file)[-1].rpartition(".")[0] if file else "__main__"


def body_of(function: Callable[..., Any]) -> str:
    """A digest of what a function does: of its code, its defaults, and what it has from around it."""
    return digest(_told(function, set()))


def _told(function: Any, seen: set[int]) -> Iterator[str]:
    if id(function) in seen:  # a function that calls itself, or two that call each other
        return
    seen.add(id(function))
    if isinstance(function, partial):
        yield from _told(function.func, seen)
        yield from _values((*function.args, *function.keywords, *function.keywords.values()), seen)
        return
    plain = function.__func__ if isinstance(function, MethodType) else function
    if isinstance(plain, FunctionType):
        yield from _code(plain.__code__)
        yield from _values((*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values()), seen)
        yield from _values(_from_around(plain), seen)
        return
    call = None if isinstance(plain, type) else vars(type(plain)).get("__call__")
    yield identity_of(plain)
    if isinstance(call, FunctionType):
        yield from _told(call, seen)


def _from_around(function: FunctionType) -> Iterator[Any]:
    """What a function has from the functions around it, but for what it sets itself."""
    if not function.__closure__:
        return
    code = function.__code__
    own = {*code.co_varnames, *code.co_cellvars}
    sets = {arg - len(own) for op, arg, _place in _instructions(code) if op == opmap["STORE_DEREF"]}
    for index, cell in enumerate(function.__closure__):
        if index not in sets and cell != CellType():
            yield cell.cell_contents


def _values(values: Iterable[Any], seen: set[int]) -> Iterator[str]:
    """Values that cannot change as they are, functions by what they do, all others by their types."""
    for one in values:
        if isinstance(one, FunctionType | MethodType | partial):
            yield from _told(one, seen)
        elif isinstance(one, tuple):
            yield f"({len(one)}"
            yield from _values(one, seen)
        elif isinstance(one, type):
            yield identity_of(one)
        else:
            yield repr(one) if type(one) in ATOMS else type(one).__qualname__


def _code(code: CodeType) -> Iterator[str]:
    """What a function's body does; functions in it are part of it."""
    yield f"{code.co_argcount} {code.co_kwonlyargcount} {code.co_flags & 0x0C} {' '.join(code.co_names)}"
    raw, meant = code.co_code, list(_instructions(code))
    line = code.co_firstlineno if "__firstlineno__" in code.co_names else ...  # of a class: since Python 3.13
    places = [place for _op, _arg, place in meant]
    for start, end, target, depth in _guarded(code):
        yield " ".join(str(bisect_left(places, place)) for place in (start, end, target)) + f" {depth}"
    for op, arg, place in meant:
        if op in WITH_CONSTANT:
            yield f"{op}"
            yield from () if code.co_consts[arg] == line else _constant(code.co_consts[arg])
        else:
            yield f"{op} {bisect_left(places, _target(raw, op, arg, place)) if op in JUMPS else arg}"


def _instructions(code: CodeType) -> Iterator[tuple[int, int, int]]:
    """The instructions that mean something: what each does, its argument, and the place of its code."""
    raw, more = code.co_code, 0
    for place in range(0, len(raw), 2):
        op, arg = raw[place], raw[place + 1] | more
        more = arg << 8 if op == EXTENDED_ARG else 0
        if op in PAIRS:
            first, second = PAIRS[op]
            yield first, arg >> 4, place
            yield second, arg & 15, place
        elif op not in MEANINGLESS:
            yield op, arg, place


def _target(raw: bytes, op: int, arg: int, place: int) -> int:
    """The place that a jump leads to, which is told from behind the jump and its cache."""
    behind = next(one for one in range(place + 2, len(raw) + 2, 2) if not raw.startswith(CACHE, one))
    return behind + (-2 if "BACKWARD" in opname[op] else 2) * arg


def _guarded(code: CodeType) -> Iterator[tuple[int, int, int, int]]:
    """The places that exceptions are caught between, the place of what catches them, and how deep the stack is then.

    The format is that of CPython's ``Objects/exception_handling_notes.txt``: four numbers an entry, of six bits a byte.
    """
    told, numbers, number = code.co_exceptiontable, [], 0
    for byte in told:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            numbers.append(number)
            number = 0
    for start, length, target, depth in zip(*[iter(numbers)] * 4, strict=True):
        yield start * 2, (start + length) * 2, target * 2, depth


def _constant(value: Any) -> Iterator[str]:
    if isinstance(value, CodeType):
        yield from _code(value)
    elif isinstance(value, frozenset):  # whose order is another one in each process
        yield " ".join(sorted(map(repr, value)))
    elif isinstance(value, tuple):
        yield f"({len(value)}"
        for one in value:
            yield from _constant(one)
    else:
        yield repr(value)


# ------------------------------------------------------------------------------------------------------------- agents


@runtime_checkable
class _Tool(Protocol):
    """pydantic-ai's ``Tool``."""

    name: str
    function: Callable[..., Any]
    description: str | None
    requires_approval: bool


@runtime_checkable
class _WithCapabilities(Protocol):
    """pydantic-ai's ``CombinedCapability``."""

    capabilities: Sequence[Any]


@runtime_checkable
class _WithFunction(Protocol):
    """pydantic-ai's runner of a system prompt that is a function."""

    function: Callable[..., Any]


@runtime_checkable
class _WithInstruction(Protocol):
    """pydantic-ai's instruction with where it comes from."""

    instruction: Any


SAID = ("_system_prompts", "_system_prompt_functions", "_instructions")
"""Where a pydantic-ai agent keeps what it tells the model; that is not public."""


def agent_of(agent: Any) -> Iterator[str]:
    """What an agent is: its model, instructions, tools and settings; or what its ``run`` does."""
    if isinstance(agent, str):
        yield agent
    elif isinstance(agent, BuildsAgents):
        yield body_of(agent.build)
    elif isinstance(agent, ModelAgent):
        yield from _model_agent(agent)
    else:
        yield body_of(type(agent).run)
        yield from (f"{name} {value}" for name, value in sorted(_attributes(agent).items()) if isinstance(value, str))


def _model_agent(agent: Any) -> Iterator[str]:
    if isinstance(agent, Wrapper):
        yield type(agent).__qualname__
        yield from _model_agent(agent.wrapped)
        return
    about = _attributes(agent)
    settings = about.get("model_settings")
    yield f"{model_name(agent.model)} {shown(agent.output_type)}"
    yield shown(sorted(settings.items())) if isinstance(settings, Mapping) else type(settings).__qualname__
    for name in SAID:
        yield name
        for one in about.get(name) or ():
            yield from _said(one.instruction if isinstance(one, _WithInstruction) else one)
    for toolset in agent.toolsets if isinstance(agent, WithToolsets) else ():
        yield from _toolset(toolset)
    capability = about.get("_root_capability")
    for one in capability.capabilities if isinstance(capability, _WithCapabilities) else ():
        yield type(one).__qualname__


def _said(one: Any) -> Iterator[str]:
    """One instruction: a text, a function that makes it, or something that has such a function."""
    function = one.function if isinstance(one, _WithFunction) else one
    if isinstance(function, str):
        yield function
    else:
        yield body_of(function) if callable(function) else type(function).__qualname__


def _toolset(toolset: Any) -> Iterator[str]:
    yield type(toolset).__qualname__
    if isinstance(toolset, Wrapper):
        yield from _toolset(toolset.wrapped)
    if isinstance(toolset, WithToolsets):
        for one in toolset.toolsets:
            yield from _toolset(one)
    if isinstance(toolset, NamingTools):
        yield from toolset.flujo_names
    for tool in toolset.tools.values() if isinstance(toolset, WithTools) else ():
        if isinstance(tool, _Tool):
            yield f"{tool.name} {tool.description} {tool.requires_approval} {body_of(tool.function)}"


def _attributes(one: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(one, "__dict__", {})
    return found
