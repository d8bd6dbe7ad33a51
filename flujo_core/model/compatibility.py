"""Whether a run that was begun with one pipeline can go on with another: node by node, by what the run has done.

A node is *closed* in a run if it can never run again in it; *open* if it is under way, or may run again, as in a loop
that has not ended; *future* if nothing of it has begun. Future nodes may change in any way. Where it is in doubt what a
node is, it is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from flujo_core.errors import did_you_mean
from flujo_core.model.contexts import attempt_path, outwards
from flujo_core.model.flow import FALLBACK
from flujo_core.model.manifest import Facts, Manifest
from flujo_core.model.run import NodeResult, RunState

Nodes = Sequence[Facts]
LEAVES = ("step", "agent", "human")
DONE = ("completed", "skipped", "failed")
GIVE_UP = "or let the run end with the code that it was begun with"


class Difference(NamedTuple):
    """Something that stands against going on.

    Attributes:
        address: The node's address as ``walk`` gave it for the code that the run has.
        message: What was found, and what would mend it: a sentence.
    """

    address: str
    message: str

    def __str__(self) -> str:
        return self.message


class Comparison(NamedTuple):
    """What a run meets in other code.

    Attributes:
        differences: What stands against going on; empty: nothing.
        warnings: What does not, and should be known: sentences.
        renames: The addresses of nodes that have another name now, and their new ones; as ``walk`` gives them.
        migrated: The new addresses of nodes whose recorded outputs are to be turned into ones of their present version,
            and the version that they are of.
    """

    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
    renames: Mapping[str, str] = {}
    migrated: Mapping[str, str] = {}


def compare(old: Manifest, new: Manifest, state: RunState, *, refuse_body_changes: bool = False) -> Comparison:
    """Compares the code that a run was begun, or last resumed, with to the code that it is to go on with.

    Args:
        old: What the nodes were.
        new: What they are.
        state: The run, which has not ended, or has failed.
        refuse_body_changes: Whether a changed body of an open node stands against going on.
    """
    if old == new:
        return Comparison()
    comparer = _Comparer(state, old.python == new.python, refuse_body_changes)
    comparer.names(old.nodes, new.nodes, "", "")
    comparer.scope(_Scope(old.nodes, new.nodes, "", ""))
    return comparer.comparison()


class _Scope(NamedTuple):
    """One scope in one place of the run, and what is known of it.

    Attributes:
        old: Its nodes.
        new: What they are now.
        path: Its path in the run.
        static: The same as ``walk`` gives it.
        again: Whether what has run in it may run again.
        ended: The node that it is in, if that has ended: then all of its nodes have run, and no other will.
    """

    old: Nodes
    new: Nodes
    path: str
    static: str
    again: bool = False
    ended: str = ""


class _Comparer:
    """Collects what differs.

    Args:
        state: The run.
        knows_bodies: Whether the digests of bodies can be compared.
        refuses: Whether a changed body stands against going on.
    """

    def __init__(self, state: RunState, knows_bodies: bool, refuses: bool) -> None:
        self._state = state
        self._knows_bodies = knows_bodies
        self._refuses = refuses
        self._entered = {outwards(address) for table in (state.steps, state.nodes) for address in table}
        self._found: dict[Difference, None] = {}
        self._warnings: dict[str, None] = {}
        self._renames: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._migrated: dict[str, str] = {}

    def comparison(self) -> Comparison:
        """What was found."""
        return Comparison(tuple(self._found), tuple(self._warnings), self._renames, self._migrated)

    def names(self, old: Nodes, new: Nodes, before: str, now: str) -> None:
        """Notes which nodes have other names, and whose outputs are migrated; in all scopes."""
        for _, one, other in _pairs(old, new):
            address, renamed = _join(before, one), _join(now, other)
            if one.name != other.name:
                self._renames[address] = renamed
                self._names[one.name] = other.name
            if one.version != other.version and other.migrations.get(one.version):
                self._migrated[renamed] = one.version
            for segment in one.scopes.keys() & other.scopes.keys():
                self.names(one.scopes[segment], other.scopes[segment], address + segment, renamed + segment)

    # ------------------------------------------------------------------------------------------------------ by the run

    def scope(self, scope: _Scope) -> None:
        """Compares a scope: what has begun in it must stand where it stood; what follows is free."""
        begun = [index for index, one in enumerate(scope.old) if self._has_begun(_join(scope.path, one))]
        if scope.ended:
            why = f"'{scope.ended}' has ended"
            self._order(scope.old, scope.new, scope.static, len(scope.old), why, exact=True)
        else:
            self._order(scope.old, scope.new, scope.static, begun[-1] + 1 if begun else 0, "", exact=False)
        for index, one, other in _pairs(scope.old, scope.new):
            if index in begun:
                self._node(one, other, _join(scope.path, one), _join(scope.static, one), scope.again)

    def _has_begun(self, address: str) -> bool:
        return address in self._state.steps or address in self._state.nodes

    def _node(self, old: Facts, new: Facts, address: str, static: str, again: bool) -> None:
        """Compares a node that has begun."""
        if not self._same_kind(old, new, static):
            return
        if old.kind in LEAVES:
            self._leaf(old, new, address, static, again)
        elif address in self._state.nodes:
            self._block(old, new, self._state.nodes[address], static, again)

    def _leaf(self, old: Facts, new: Facts, address: str, static: str, again: bool) -> None:
        step = self._state.steps.get(address)
        if step is not None and step.status in DONE and not again:
            return
        self._open(old, new, static)
        if step is None or step.status not in DONE:
            self._fallback(old, new, _Scope((), (), address, static, again))

    def _fallback(self, old: Facts, new: Facts, place: _Scope) -> bool:
        """Compares the fallback of a node, if that is what runs; gives whether it is."""
        if place.path + FALLBACK not in self._entered:
            return False
        self._inner(old, new, FALLBACK, place)
        return True

    def _inner(self, old: Facts, new: Facts, segment: str, place: _Scope, instance: str | None = None) -> None:
        """Compares a scope of a node that has been entered."""
        if segment not in old.scopes:
            return
        if segment not in new.scopes:
            what = "fallback" if segment == FALLBACK else f"part '{segment}'"
            self._differ(place.static, f"{old.kind} '{place.static}' has no {what} any more, in which the run is or was;"
                         " put it back")  # fmt: skip
            return
        path = place.path + (segment if instance is None else instance)
        self.scope(
            place._replace(old=old.scopes[segment], new=new.scopes[segment], path=path, static=place.static + segment)
        )

    def _block(self, old: Facts, new: Facts, result: NodeResult, static: str, again: bool) -> None:
        """Compares a node in which others run."""
        done = result.status == "completed"
        if not done or again:
            self._open(old, new, static, asks=old.kind != "branch" or result.case is None or again)
            self._apart(old, new, static)
        if result.source == "cache":
            return
        place = _Scope((), (), result.address, static, again or new.retries, static if done else "")
        if self._fallback(old, new, place._replace(again=again)):
            return
        place = place._replace(path=attempt_path(result.address, result.attempts))
        match old.kind:
            case "loop" | "map" if not done:
                self._whole(old.scopes["[*]"], new.scopes["[*]"], static + "[*]", f"'{static}' has not ended")
            case "loop":
                for number in range(1, result.iterations + 1):
                    self._inner(old, new, "[*]", place, f"[{number}]")
            case "map":
                for item in result.scopes:
                    self._inner(old, new, "[*]", place, item)
            case "branch":
                if result.case is not None:
                    self._inner(old, new, f"[{result.case}]", place)
            case _:
                self._branches(old, new, place, done)

    def _branches(self, old: Facts, new: Facts, place: _Scope, done: bool) -> None:
        """Compares all parts of a parallel, or the one of a pipeline."""
        had, has = _own_scopes(old), _own_scopes(new)
        if (sorted(had) != sorted(has)) if done else (had != has):
            self._parts_differ(old, place.static, had, has)
            return
        for segment in had:
            self._inner(old, new, segment, place)

    # --------------------------------------------------------------------------------------------------- by the code

    def _whole(self, old: Nodes, new: Nodes, static: str, why: str) -> None:
        """Compares a scope that may be anywhere and run again: nothing in it may change but bodies."""
        self._order(old, new, static, len(old), why, exact=True)
        for _, one, other in _pairs(old, new):
            address = _join(static, one)
            if not self._same_kind(one, other, address):
                continue
            self._open(one, other, address)
            self._apart(one, other, address)
            had, has = list(one.scopes), list(other.scopes)
            if (sorted(had) != sorted(has)) if one.kind == "branch" else (had != has):
                self._parts_differ(one, address, had, has)
                continue
            for segment in had:
                self._whole(one.scopes[segment], other.scopes[segment], address + segment, why)

    def _order(self, old: Nodes, new: Nodes, static: str, count: int, why: str, *, exact: bool) -> None:
        """Compares which nodes there are, in which order: of the first ``count``, or of all if it is ``exact``."""
        places = _matches(old, new)
        kept = [(index, places[index]) for index in range(count) if index in places]
        gone = [old[index] for index in range(count) if index not in places]
        last = max((place for _, place in kept), default=-1)
        limit = len(new) if exact else last
        taken = {place for _, place in kept}
        added = [new[place] for place in range(limit) if place not in taken]
        because = why or "the run has passed that place"
        for one in gone:
            heir = _heir(one, [other for place, other in enumerate(new) if place not in places.values()])
            if heir in added:
                added.remove(heir)
            self._gone(one, heir, new, _join(static, one), because)
        for one in added:
            self._added(one, old, new, _join(static, one), because)
        for (index, place), (after, later) in pairwise(kept):
            if place > later:
                address = _join(static, old[after])
                self._differ(address, f"'{address}' now stands before '{_join(static, old[index])}', and stood after it;"
                             f" {because}: put them back in that order")  # fmt: skip

    def _gone(self, one: Facts, heir: Facts | None, new: Nodes, address: str, because: str) -> None:
        if heir is None:
            close = did_you_mean(one.name, [other.name for other in new])
            close = close if close.startswith("; did you mean") else ""
            self._differ(address, f"'{address}' is not there any more, and {because}: put it back{close}")
        else:
            self._differ(
                address,
                f"'{address}' is not there any more, and {because}: put it back, or, if it is '{heir.name}' now, say so"
                f" by 'was=\"{one.name}\"'",
            )

    def _added(self, one: Facts, old: Nodes, new: Nodes, address: str, because: str) -> None:
        if one.name in {other.name for other in old}:
            self._differ(address, f"'{address}' now stands before what has begun, and would be skipped, as {because}:"
                         " put it back")  # fmt: skip
            return
        self._differ(address, f"'{address}' is new in a place where it would be skipped, as {because}: put it behind"
                     f" all that has begun, {GIVE_UP}")  # fmt: skip

    def _same_kind(self, old: Facts, new: Facts, address: str) -> bool:
        if old.kind == new.kind:
            return True
        self._differ(
            address, f"'{address}' was of the kind '{old.kind}' and is of the kind '{new.kind}' now, and has begun: make it"
            f" one again, {GIVE_UP}"
        )  # fmt: skip
        return False

    def _parts_differ(self, old: Facts, address: str, had: Sequence[str], has: Sequence[str]) -> None:
        self._differ(
            address,
            f"{old.kind} '{address}' has begun with the parts {_listed(had)}, and has {_listed(has)} now: put them back,"
            f" {GIVE_UP}",
        )

    def _apart(self, old: Facts, new: Facts, address: str) -> None:
        if old.apart != new.apart:
            word = "none any more" if old.apart else "one now"
            self._differ(
                address, f"{old.kind} '{address}' is under way, and a retry, timeout, fallback or cache says whether what is"
                f" done in it is apart until it succeeds; it has {word}: leave that as it was, {GIVE_UP}"
            )  # fmt: skip

    def _open(self, old: Facts, new: Facts, address: str, *, asks: bool = True) -> None:
        """Compares what an open node is in itself."""
        if old.version != new.version:
            if old.version not in new.migrations:
                self._differ(
                    address,
                    f"'{address}' is under way with {_version(old)}, and has {_version(new)} now: say how it goes on, by"
                    f" 'migrations={{\"{old.version}\": ...}}', {GIVE_UP}",
                )
            return
        for what, had, has in _said(old, new, asks):
            self._differ(
                address,
                f"'{address}' is under way, and its {what} was {_quoted(had)} and is {_quoted(has)} now: put it back, or"
                f" give it another 'version' and 'migrations={{\"{old.version}\": ...}}'",
            )
        if self._knows_bodies:
            self._body(old, new, address)
        else:
            self._note(
                "the bodies of steps that are under way cannot be compared, as the run was begun by another minor version"
                " of Python",
                "",
                "go on with that one",
            )

    def _body(self, old: Facts, new: Facts, address: str) -> None:
        if old.body != new.body:
            remedy = f"give it another 'version' and 'migrations={{\"{old.version}\": None}}', if that is meant"
            self._note(f"'{address}' is under way, and does something else now", address, remedy)
        elif _sources(old, self._names) != _sources(new, {}):
            self._note(
                f"'{address}' is under way, and takes its named inputs from elsewhere now", address, "put it back"
            )

    def _note(self, what: str, address: str, remedy: str) -> None:
        """A warning, or a difference where bodies may not change."""
        if self._refuses:
            self._differ(address, f"{what}: {remedy}")
        else:
            self._warnings[what] = None

    def _differ(self, address: str, message: str) -> None:
        self._found[Difference(address, message)] = None


# ------------------------------------------------------------------------------------------------------ nodes and names


def _matches(old: Nodes, new: Nodes) -> dict[int, int]:
    """Which node is which: by what it was, else by its name; the places in ``old``, and those in ``new``."""
    were = {one.name: index for index, one in enumerate(old)}
    found = {were[one.was]: place for place, one in enumerate(new) if one.was in were}
    used = {*found.values()}
    for place, one in enumerate(new):
        if place not in used and one.name in were:
            found.setdefault(were[one.name], place)
    return dict(sorted(found.items()))


def _pairs(old: Nodes, new: Nodes) -> Iterator[tuple[int, Facts, Facts]]:
    """The nodes that are the same ones, with their places in ``old``."""
    return ((index, old[index], new[place]) for index, place in _matches(old, new).items())


def _heir(gone: Facts, new: Nodes) -> Facts | None:
    """The new node that one seems to be now, if there is one."""
    for one in new:
        if one.kind == gone.kind and ((one.action and one.action == gone.action) or one.body == gone.body):
            return one
    from difflib import get_close_matches  # noqa: PLC0415 - an error's price, not an import's

    close = get_close_matches(gone.name, [one.name for one in new if one.kind == gone.kind], n=1)
    return next((one for one in new if one.name in close), None)


def _join(path: str, one: Facts) -> str:
    return f"{path}/{one.segment}" if path else one.segment


def _own_scopes(one: Facts) -> list[str]:
    return [segment for segment in one.scopes if segment != FALLBACK]


def _said(old: Facts, new: Facts, asks: bool) -> Iterator[tuple[str, str, str]]:
    """What else of an open node must not change, and how it was and is, where that is not the same."""
    facts = [
        ("function" if old.kind == "step" else "agent", old.action, new.action),
        ("input type", old.takes, new.takes),
        ("output type", old.gives, new.gives),
    ]
    if asks:
        places = {**old.asks, **new.asks}
        facts += [(f"'{place}'", old.asks.get(place, "-"), new.asks.get(place, "-")) for place in places]
    return (one for one in facts if one[1] != one[2])


def _sources(one: Facts, names: Mapping[str, str]) -> list[str]:
    """What a node's named inputs are named after, with names that have changed as they are now."""
    found = []
    for parameter, said in one.named.items():
        source, _, path = said.rpartition(" ")
        parts = [part.partition("[") for part in source.split("/")]
        found.append(f"{parameter} {'/'.join(names.get(a, a) + b + c for a, b, c in parts)} {path}")
    return found


def _version(one: Facts) -> str:
    return f"version '{one.version}'" if one.version else "no version"


def _quoted(said: str) -> str:
    return {"": "a lambda or none", "-": "not given"}.get(said, f"'{said}'")


def _listed(segments: Sequence[str]) -> str:
    return ", ".join(f"'{one.strip('[]')}'" for one in segments)
