"""What a step asks to be changed behind it: as plain data, and as the nodes that its scope has then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, Self, TypeAlias

from pydantic_core import PydanticSerializationError, from_json, to_json

from flujo_core.errors import DefinitionError, SpecError, did_you_mean
from flujo_core.model.action import AgentAction, RegisteredAction
from flujo_core.model.check import fits, type_name
from flujo_core.model.event import ChangeKind, RefusalReason
from flujo_core.model.flow import Node, Pipeline, parts_of
from flujo_core.model.outcome import Added, Change, PipelineMutation, Reconfigure
from flujo_core.model.reconfiguration import NotAllowed, Reconfigured
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.spec import spec_of
from flujo_core.model.spec_reader import node_from_spec
from flujo_core.model.spec_schema import FORMAT
from flujo_core.model.step import Step

Nodes: TypeAlias = Sequence[Node[Any, Any]]


class Refused(Exception):
    """A change cannot be.

    Args:
        reason: Why, in a word.
        message: Why, for people.
    """

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason: RefusalReason = reason
        self.message = message


class OnlyRegistered:
    """Where the names of a change are looked up: it has none but those of what plugins have registered."""

    def find(self, path: str, /) -> NoReturn:
        """Refuses an import path.

        Raises:
            Refused: Always.
        """
        raise Refused("import_path", f"it names '{path}', an import path; name what a plugin has registered")

    def agent(self, _: Mapping[str, Any], /) -> NoReturn:
        """Refuses an agent that is described in place.

        Raises:
            Refused: Always.
        """
        raise Refused("import_path", "it describes an agent; name one that a plugin has registered")


class Nearby(NamedTuple):
    """The scope that a change is made in.

    Attributes:
        nodes: What is in it, in order.
        reached: How many of them have been reached; the last of these is the step that asks.
        gone: The names that earlier changes have taken away.
    """

    nodes: tuple[Node[Any, Any], ...]
    reached: int
    gone: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The names of what is in it."""
        return [node.label for node in self.nodes]

    def checked(self, name: str, what: str, *, after: bool = False) -> str:
        """A name of what is still to come; ``after``: the step itself is good too.

        Raises:
            Refused: It is none.
        """
        names = self.names
        if name not in names:
            coming = names[self.reached - after :]
            raise Refused("unknown", f"it would {what} '{name}', and its scope has none{did_you_mean(name, coming)}")
        if names.index(name) < self.reached - after:
            raise Refused("past", f"it would {what} '{name}', which has been reached; change what comes after the step")
        return name


class Asked(NamedTuple):
    """A change that a step asks for, as plain data.

    Attributes:
        kind: What kind of change it is.
        data: What it changes, as JSON; empty where it changes nothing, or is refused already.
        reason: Why it is refused already, in a word, or None.
        message: Why, for people.
    """

    kind: ChangeKind
    data: str = ""
    reason: RefusalReason | None = None
    message: str = ""

    def to_json(self) -> list[Any]:
        """It, as JSON can hold it."""
        return [*self]

    @classmethod
    def from_json(cls, said: Sequence[Any]) -> Self:
        """It, of what ``to_json`` has given."""
        return cls(*said)

    def check(self) -> None:
        """Raises why it is refused already, if it is.

        Raises:
            Refused: It is.
        """
        if self.reason is not None:
            raise Refused(self.reason, self.message)


def asked(change: Change) -> Asked:
    """What a step asks for, as plain data."""
    kind: ChangeKind = "mutation" if isinstance(change, PipelineMutation) else "reconfiguration"
    try:
        data = _plain(change)
    except Refused as refused:
        return Asked(kind, "", refused.reason, refused.message)
    return Asked(kind, data.decode() if _changes_anything(data) else "")


def _changes_anything(data: bytes) -> bool:
    return any(one for name, one in from_json(data).items() if name != "target")


def _plain(change: Change) -> bytes:
    """A change as JSON, which ``applied`` reads.

    Raises:
        Refused: It has something that no spec can name.
    """
    if isinstance(change, Reconfigure):
        asked = {"instructions": change.instructions, "settings": change.settings, "tools": change.tools}
        return _json({"target": change.target, "model": change.model, **asked})
    inserted = {name: [_spec(one) for one in new] for name, new in change.insert_after.items() if new}
    replaced = {name: _spec(one, name) for name, one in change.replace.items()}
    return _json({"insert_after": inserted, "replace": replaced, "remove": change.remove})


def _json(said: Mapping[str, Any]) -> bytes:
    try:
        return to_json(said)
    except PydanticSerializationError as error:
        raise Refused("spec", "it holds something that is no plain data") from error


def _spec(added: Added, name: str | None = None) -> dict[str, Any]:
    if isinstance(added, str):
        return {"format": FORMAT, "use": added} | ({} if name is None else {"name": name})
    if isinstance(added, Mapping):
        return {"format": FORMAT, **added}
    if not isinstance(added, Node):
        raise Refused("spec", f"it would add {type(added).__name__!r}; give the name of a registered step, or a spec")
    try:
        return spec_of(_untyped(added))
    except DefinitionError as error:
        raise Refused("import_path", f"{error}; or name what a plugin has registered") from error


def _untyped(node: Node[Any, Any]) -> Node[Any, Any]:
    """A node without the types that it declares of registered steps: what is registered says them."""
    node = node.rebuilt(_untyped)
    if isinstance(node, Step) and isinstance(node.action, RegisteredAction):
        return replace(node, action=RegisteredAction(node.action.name, Any, Any))
    return node


Resolve: TypeAlias = Callable[[Node[Any, Any]], Node[Any, Any]]
"""Puts what is registered in the places of names."""


class Applied(NamedTuple):
    """A scope after a change.

    Attributes:
        nodes: What is in it, resolved.
        authored: The same as it was written, with the names of what plugins have registered.
        gone: The names that this change and earlier ones have taken away.
        added: The names of what this change has put in.
    """

    nodes: tuple[Node[Any, Any], ...]
    authored: tuple[Node[Any, Any], ...]
    gone: frozenset[str]
    added: frozenset[str] = frozenset()


def applied(data: str, scope: Nearby, authored: Nodes, resolve: Resolve) -> Applied:
    """A scope after a change.

    Args:
        data: What ``Asked`` has.
        scope: The scope before.
        authored: Its nodes as they were written.
        resolve: Puts what is registered in the places of names.

    Raises:
        Refused: It cannot be.
        ConfigurationError: It names what is not registered.
        DefinitionError: The parts do not fit each other.
    """
    said = from_json(data)
    if "target" in said:
        return _reconfigured(said, scope, tuple(authored), resolve)
    return _mutated(said, scope, tuple(authored), resolve)


def check_end(scope: Nodes, gives: Any) -> None:
    """Checks that what a changed scope gives in the end is what the rest of the pipeline counts on.

    Raises:
        Refused: It is not.
    """
    if not fits(scope[-1].gives, gives):
        raise Refused(
            "types",
            f"'{scope[-1].label}' would be the last step of its scope and gives '{type_name(scope[-1].gives)}', where"
            f" '{type_name(gives)}' is counted on",
        )


# ------------------------------------------------------------------------------------------------------------ mutation


def _mutated(said: Mapping[str, Any], scope: Nearby, authored: tuple[Node[Any, Any], ...], resolve: Resolve) -> Applied:
    inserted = {
        scope.checked(name, "put something after", after=True): [part for one in new for part in read(one)]
        for name, new in said["insert_after"].items()
    }
    replaced = {scope.checked(name, "replace"): read(one) for name, one in said["replace"].items()}
    removed = {scope.checked(name, "remove") for name in said["remove"]}
    if twice := sorted(removed & replaced.keys()):
        raise Refused("spec", f"it would both replace and remove '{twice[0]}'")
    added = [*_flat(inserted.values()), *_flat(replaced.values())]
    kept = {part.label for name, parts in replaced.items() for part in parts if part.label == name}
    gone = scope.gone | removed | (replaced.keys() - kept)
    _check_names(added, scope, gone)
    new_authored: list[Node[Any, Any]] = []
    new: list[Node[Any, Any]] = []
    for node, written in zip(scope.nodes, authored, strict=True):
        stays = node.label not in removed and node.label not in replaced
        fresh = [*replaced.get(node.label, ()), *inserted.get(node.label, ())]
        new_authored += [written] * stays + fresh
        new += [node] * stays + [resolve(one) for one in fresh]
    names = frozenset(node.label for node in added)
    return Applied(Pipeline(None, tuple(new)).nodes, tuple(new_authored), gone, names)


def _check_names(added: Nodes, scope: Nearby, gone: Collection[str]) -> None:
    """Checks that nothing is put in under the name of what was taken away, or of what has been reached."""
    reached = scope.names[: scope.reached]
    for node in added:
        if node.label in gone:
            raise Refused("reused", f"it would add a step '{node.label}', a name that was taken away; use another")
        if node.label in reached:
            raise Refused("past", f"it would add a step '{node.label}', and one of that name has run; use another name")


def _flat(many: Collection[Nodes]) -> Iterator[Node[Any, Any]]:
    return (node for nodes in many for node in nodes)


def read(spec: Mapping[str, Any]) -> Nodes:
    """The nodes that a spec says.

    Raises:
        Refused: It cannot be read.
    """
    try:
        return parts_of(node_from_spec(spec, OnlyRegistered()))
    except SpecError as error:
        raise Refused("spec", f"what it would add cannot be read: {error}") from error


# ----------------------------------------------------------------------------------------------------- reconfiguration


def _reconfigured(
    said: Mapping[str, Any], scope: Nearby, authored: tuple[Node[Any, Any], ...], resolve: Resolve
) -> Applied:
    index = scope.names.index(scope.checked(said["target"], "reconfigure"))
    target = scope.nodes[index]
    if not isinstance(target, Step) or not isinstance(target.action, AgentAction):
        raise Refused("not_allowed", f"it would reconfigure '{target.label}', which asks no agent")
    allowed = target.policies.allow_reconfigure
    if allowed is None:
        what = f"it would reconfigure '{target.label}', which has no 'allow_reconfigure'"
        raise Refused("not_allowed", f"{what}; say there what may be changed")
    before = target.action.changed or Reconfigured()
    try:
        changed = before.plus(said, allowed, target.label)
    except NotAllowed as error:
        raise Refused("not_allowed", str(error)) from error
    made = resolve(replace(target, action=replace(target.action, changed=changed)))
    nodes = (*scope.nodes[:index], made, *scope.nodes[index + 1 :])
    return Applied(nodes, authored, scope.gone)
