"""Labels: what a step says of labelled data that goes through it."""

from __future__ import annotations

from collections.abc import Sequence

from flujo_core.errors import DefinitionError
from flujo_core.model.label import checked_label
from flujo_core.model.slotted import frozen


@frozen()
class Labels:
    """What a node does to labels, where its types do not say: ``@step(labels=Labels(clears=["phi"]))``.

    ``flujo check`` follows labelled data by it. Nothing of it has an effect on runs.

    Args:
        clears: The labels that nothing carries any more that the node gives, and that a step writes into the context;
            whatever its types say. What stands in for it, its fallback, is not meant.
        adds: The labels that all carries that it gives, and that a step writes into the context.
        egress: Whether a step sends what it is given out of the boundary, or the name of where to. False, of a step
            that asks an agent: the agent and its model are inside, which could not be known. None: as is known.

    Raises:
        DefinitionError: One of them is something else, or a label is both cleared and added.
    """

    clears: Sequence[str] = ()
    adds: Sequence[str] = ()
    egress: bool | str | None = None

    def __post_init__(self) -> None:
        for name, given in (("clears", self.clears), ("adds", self.adds)):
            if isinstance(given, str) or not isinstance(given, Sequence):
                kind = type(given).__name__
                raise DefinitionError(f"'{name}' of a 'Labels' is a list, such as ['phi'], not {kind!r}")
            object.__setattr__(self, name, tuple(map(checked_label, given)))
        if both := sorted({*self.clears} & {*self.adds}):
            raise DefinitionError(f"a 'Labels' both clears and adds '{both[0]}'; leave it out of one of the two")
        if not isinstance(self.egress, bool | str | None):
            kind = type(self.egress).__name__
            raise DefinitionError(f"'egress' of a 'Labels' is True, False or a name, not {kind!r}")

    def over(self, before: Labels) -> Labels:
        """These, and what was said before; where the two contradict each other, these."""
        clears = (*self.clears, *(one for one in before.clears if one not in (*self.clears, *self.adds)))
        adds = (*self.adds, *(one for one in before.adds if one not in (*self.adds, *self.clears)))
        return Labels(clears, adds, before.egress if self.egress is None else self.egress)


NO_LABELS = Labels()
