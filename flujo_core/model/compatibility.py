"""Whether a run that was begun with one pipeline can go on with another: node by node, by what the run has done.

A node is *closed* in a run if it can never run again in it; *open* if it is under way, or may run again, as in a loop
that has not ended; *future* if nothing of it has begun. Future nodes may change in any way. Where it is in doubt what a
node is, it is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TypeAlias

from flujo_core.model import difference
from flujo_core.model.contexts import attempt_path, outwards
from flujo_core.model.difference import PASSED, Difference, Passed
from flujo_core.model.flow import FALLBACK
from flujo_core.model.manifest import Facts, Manifest
from flujo_core.model.pairing import Nodes, address_in, changes, heir_of, pairs, parts_in, places_of, sources_of
from flujo_core.model.run import NodeResult, RunState
from flujo_core.model.slotted import NamedTuple

LEAVES = ("step", "agent", "human")
DONE = ("completed", "skipped", "failed")
BODY = "[*]"


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


Changed: TypeAlias = Mapping[str, tuple[tuple[Facts, ...], tuple[Facts, ...]]]
"""What the nodes of the scopes that the run has changed were then, and what they are now, by the scopes' paths."""

UNCHANGED: Changed = {}


def compare(
    old: Manifest, new: Manifest, state: RunState, changed: Changed = UNCHANGED, *, refuse_body_changes: bool = False
) -> Comparison:
    """Compares the code that a run was begun, or last resumed, with to the code that it is to go on with.

    That a recorded output fits the type that it is declared with now is not looked at: whoever reads it sees.

    Args:
        old: What the nodes were.
        new: What they are.
        state: The run, which has not ended, or has failed.
        changed: The scopes that it has changed.
        refuse_body_changes: Whether a changed body of an open node stands against going on.
    """
    if not changed and old.to_json() == new.to_json():  # where the order of branches counts, as it does not for '=='
        return Comparison()
    comparer = _Comparer(state, changed, old.python == new.python, refuse_body_changes)
    comparer.note_names(old.nodes, new.nodes, "", "")
    comparer.compare_scope(_Place("", ""), old.nodes, new.nodes)
    comparer.compare_changed()
    return comparer.comparison()


class _Place(NamedTuple):
    """A node or scope in one place of the run, and what is known of it.

    Attributes:
        path: Its path in the run.
        static: The same as ``walk`` gives it.
        again: Whether what has run in it may run again.
        ended: The address of the node that it is, or is in, if that has ended: all in it has run, and no more will.
    """

    path: str
    static: str
    again: bool = False
    ended: str = ""

    def into(self, segment: str, instance: str | None = None) -> _Place:
        """A scope of it; ``instance`` is its segment in the run, where that is another."""
        path = self.path + (segment if instance is None else instance)
        return self._replace(path=path, static=self.static + segment)


class _Comparer:
    """Collects what differs.

    Args:
        state: The run.
        changed: The scopes that it has changed.
        knows_bodies: Whether the digests of bodies can be compared.
        refuses: Whether a changed body stands against going on.
    """

    def __init__(self, state: RunState, changed: Changed, knows_bodies: bool, refuses: bool) -> None:
        self._state = state
        self._changed = dict(changed)
        self._knows_bodies = knows_bodies
        self._refuses = refuses
        self._entered = {outwards(address) for table in (state.steps, state.nodes) for address in table}
        self._differences: dict[Difference, None] = {}
        self._warnings: dict[str, None] = {}
        self._renames: dict[str, str] = {}
        self._migrated: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def comparison(self) -> Comparison:
        """What was found."""
        return Comparison(tuple(self._differences), tuple(self._warnings), self._renames, self._migrated)

    def note_names(self, old: Nodes, new: Nodes, before: str, now: str) -> None:
        """Notes which nodes have other names, and whose outputs are migrated; in all scopes."""
        for one, other in pairs(old, new):
            address, renamed = address_in(before, one), address_in(now, other)
            if one.name != other.name:
                self._renames[address] = renamed
                self._names[one.name] = other.name
            if one.version != other.version and other.migrations.get(one.version):
                self._migrated[renamed] = one.version
            for segment in one.scopes.keys() & other.scopes.keys():
                self.note_names(one.scopes[segment], other.scopes[segment], address + segment, renamed + segment)

    # ------------------------------------------------------------------------------------------------------ by the run

    def compare_scope(self, place: _Place, old: Nodes, new: Nodes) -> None:
        """Compares a scope: what has begun in it must stand where it stood; what follows is free until it has ended."""
        old, new = self._changed.pop(place.path, (old, new))
        begun = [one for one in old if self._has_begun(address_in(place.path, one))]
        if place.ended:
            self._compare_order(old, new, place.static, len(old), difference.ended(place.ended), whole=True)
        elif begun:
            self._compare_order(old, new, place.static, old.index(begun[-1]) + 1, PASSED, whole=False)
        for one, other in pairs(old, new):
            if one in begun:
                at = place._replace(path=address_in(place.path, one), static=address_in(place.static, one), ended="")
                self._compare_node(at, one, other)

    def compare_changed(self) -> None:
        """Compares the changed scopes that were not come to: they are in what is compared as a whole."""
        for path, (old, new) in self._changed.items():
            self._compare_whole(old, new, path, path)

    def _has_begun(self, address: str) -> bool:
        return address in self._state.steps or address in self._state.nodes

    def _compare_node(self, place: _Place, old: Facts, new: Facts) -> None:
        """Compares a node that has begun."""
        if old.kind != new.kind:
            self._differ(difference.other_kind(old, new, place.static))
        elif old.kind in LEAVES:
            self._compare_leaf(place, old, new)
        else:
            self._compare_block(place, old, new, self._state.nodes[place.path])

    def _compare_leaf(self, place: _Place, old: Facts, new: Facts) -> None:
        status = self._state.steps[place.path].status
        if status not in DONE or place.again:
            self._compare_open(old, new, place.static)
        if status not in ("completed", "skipped"):
            self._compare_fallback(place, old, new)

    def _compare_block(self, place: _Place, old: Facts, new: Facts, result: NodeResult) -> None:
        """Compares a node in which others run."""
        done = result.status == "completed"
        if not done or place.again:
            self._compare_open(old, new, place.static, asks=result.case is None or place.again)
        place = place._replace(ended=place.static if done else "")
        if result.source == "cache" or (self._compare_fallback(place, old, new) and result.status != "failed"):
            return  # what has failed may be tried again
        place = place._replace(
            path=attempt_path(place.path, result.attempts), again=place.again or (new.retries and not done)
        )
        if old.kind in ("loop", "map") and not done:
            self._compare_whole(old.scopes[BODY], new.scopes[BODY], place.static + BODY, place.static)
        elif old.kind == "loop":
            for number in range(1, result.iterations + 1):
                self._compare_part(place, old, new, BODY, f"[{number}]")
        elif old.kind == "map":
            for item in result.scopes:
                self._compare_part(place, old, new, BODY, item)
        elif old.kind == "branch":
            if result.case is not None:
                self._compare_part(place, old, new, f"[{result.case}]")
        else:
            self._compare_parts(place, old, new)

    def _compare_fallback(self, place: _Place, old: Facts, new: Facts) -> bool:
        """Compares the fallback of a node if that is what runs, or has run; gives whether it is."""
        if place.path + FALLBACK not in self._entered:
            return False
        self._compare_part(place, old, new, FALLBACK)
        return True

    def _compare_part(self, place: _Place, old: Facts, new: Facts, segment: str, instance: str | None = None) -> None:
        """Compares a scope of a node that the run has entered."""
        if segment in new.scopes:
            self.compare_scope(place.into(segment, instance), old.scopes[segment], new.scopes[segment])
        else:
            what = "fallback" if segment == FALLBACK else f"part '{segment.strip('[]')}'"
            self._differ(difference.lost(old, place.static, what))

    def _compare_parts(self, place: _Place, old: Facts, new: Facts) -> None:
        """Compares all parts of a parallel, or the one of a pipeline."""
        had, has = parts_in(old), parts_in(new)
        if (sorted(had) != sorted(has)) if place.ended else (had != has):
            self._differ(difference.other_parts(old, place.static, had, has))
            return
        for segment in had:
            self._compare_part(place, old, new, segment)

    # -------------------------------------------------------------------------------------------------------- all of it

    def _compare_whole(self, old: Nodes, new: Nodes, path: str, within: str) -> None:
        """Compares a scope that may be anywhere, and run again: nothing in it may change but bodies."""
        self._compare_order(old, new, path, len(old), difference.unfinished(within), whole=True)
        for one, other in pairs(old, new):
            address = address_in(path, one)
            had, has = [*one.scopes], [*other.scopes]
            if one.kind != other.kind:
                self._differ(difference.other_kind(one, other, address))
                continue
            self._compare_open(one, other, address)
            if (sorted(had) != sorted(has)) if one.kind == "branch" else (had != has):
                self._differ(difference.other_parts(one, address, had, has))
                continue
            for segment in had:
                self._compare_whole(one.scopes[segment], other.scopes[segment], address + segment, within)

    def _compare_order(self, old: Nodes, new: Nodes, path: str, count: int, passed: Passed, *, whole: bool) -> None:
        """Compares which nodes there are, in which order: those up to the last of the first ``count``, or all."""
        places = places_of(old, new)
        kept = [(place, places[place]) for place in range(count) if place in places]
        strangers = [one for place, one in enumerate(new) if place not in places.values()]
        end = len(new) if whole else max((now for _, now in kept), default=0)
        known = {now for _, now in kept}
        heirs = []
        for one in (one for place, one in enumerate(old[:count]) if place not in places):
            heirs.append(heir_of(one, strangers))
            self._differ(difference.gone(one, heirs[-1], new, address_in(path, one), passed))
        for one in (one for now, one in enumerate(new[:end]) if now not in known and one not in heirs):
            self._differ(difference.added(address_in(path, one), passed, moved=one not in strangers))
        for (before, now), (after, then) in pairwise(kept):
            if then < now:
                self._differ(difference.swapped(address_in(path, old[after]), address_in(path, old[before]), passed))

    # ------------------------------------------------------------------------------------------------------- one by one

    def _compare_open(self, old: Facts, new: Facts, address: str, *, asks: bool = True) -> None:
        """Compares what an open node is in itself."""
        if old.apart != new.apart:
            self._differ(difference.other_apart(old, address))
        if old.version != new.version:
            if old.version not in new.migrations:
                self._differ(difference.other_version(old, new, address))
            return
        for what, had, has in changes(old, new, asks=asks):
            self._differ(difference.other_fact(old, address, what, had, has))
        if asks:
            self._compare_body(old, new, address)

    def _compare_body(self, old: Facts, new: Facts, address: str) -> None:
        """Compares what an open node does."""
        if not self._knows_bodies:
            found = "what is under way was begun by another minor version of Python, and its code cannot be compared"
            self._note("", found, "go on with that one")
        elif old.body != new.body:
            remedy = f"give it another 'version' and 'migrations={{\"{old.version}\": None}}', if that is meant"
            self._note(address, f"'{address}' is under way, and does something else now", remedy)
        elif sources_of(old, self._names) != sources_of(new, {}):
            self._note(address, f"'{address}' is under way, and its named inputs are others now", "put them back")

    def _note(self, address: str, found: str, remedy: str) -> None:
        """A warning; or a difference, where bodies may not change."""
        if self._refuses:
            self._differ(Difference(address, f"{found}: {remedy}"))
        else:
            self._warnings[found] = None

    def _differ(self, found: Difference) -> None:
        self._differences[found] = None
