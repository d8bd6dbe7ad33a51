"""What a node says of labels."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import DefinitionError, HumanInput, Labels, StepPolicy, step
from flujo_core.model.spec import spec_of


def test_it_has_lists_of_labels() -> None:
    assert Labels(clears=["phi"]) == Labels(clears=("phi",))
    assert Labels() == Labels((), (), None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clears": "phi"}, "'clears' of a 'Labels' is a list, such as"),
        ({"adds": 3}, "'adds' of a 'Labels' is a list, such as .* not 'int'"),
        ({"clears": ["two words"]}, "a label is a word"),
        ({"clears": ["a", "b"], "adds": ["b"]}, "both clears and adds 'b'"),
        ({"egress": 3}, "'egress' of a 'Labels' is True, False or a name, not 'int'"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Labels(**given)


def test_a_policy_that_is_no_labels_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'labels' is a 'Labels', such as"):
        StepPolicy(labels="phi")  # type: ignore[arg-type]


@step
async def work(text: str) -> str:
    return text


def test_nodes_of_all_kinds_can_have_it() -> None:
    labels = Labels(clears=["phi"])
    for node in (work, (work >> work.named("other")).named("both"), HumanInput("ask", str, ask="?")):
        assert node.policies.labelling == Labels()
        assert node.policy(labels=labels).policies.labelling == labels


def test_what_was_said_before_stays_said_unless_it_is_contradicted() -> None:
    before = Labels(clears=["a", "b"], adds=["c", "d"], egress="far")
    assert Labels(clears=["c"], adds=["a"]).over(before) == Labels(["c", "b"], ["a", "d"], "far")
    assert Labels(egress=False).over(before) == Labels(["a", "b"], ["c", "d"], False)
    node = work.policy(labels=before).policy(labels=Labels(clears=["e"]))
    assert node.policies.labelling == Labels(["e", "a", "b"], ["c", "d"], "far")
    assert StepPolicy(labels=before).over(StepPolicy(labels=Labels(adds=["e"]))).labelling.egress == "far"


def test_no_spec_has_it_as_a_model_may_have_written_one() -> None:
    with pytest.raises(
        DefinitionError, match="'labels' of 'work' cannot be in a spec, as a model may have written one"
    ):
        spec_of(work.policy(labels=Labels(clears=["phi"])))
