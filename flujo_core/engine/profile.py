"""What the profile ``regulated`` asks of a deployment: rules, each of which finds what is lacking, with its remedy.

To add a rule, write a function of a ``Deployment`` and list it in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from flujo_core.agents.traces import traces_content
from flujo_core.config import Settings
from flujo_core.errors import ProfileUnmet
from flujo_core.hooks.host import Host
from flujo_core.model.action import AgentAction
from flujo_core.model.flow import Node, everything
from flujo_core.model.human import HumanInput
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.store.byte_codec import Codecs

if TYPE_CHECKING:
    from flujo_core.model.budget import Budget

STRICT_AUDIT = "strict-audit"
"""What the plugin assures of that keeps the audit."""


class Lack(NamedTuple):
    """What a deployment lacks.

    Attributes:
        what: What is lacking.
        remedy: What would mend it.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class Deployment(NamedTuple):
    """What is looked at.

    Attributes:
        settings: The configuration.
        host: The plugins.
        pipeline: The pipeline, with registered steps and agents in the places of their names.
        codecs: What payloads go through before they are kept, or None.
        has_store: Whether runs are journaled in a store.
        has_seal: Whether the states of runs are sealed.
        budgets: What runs, steps and tenants may spend.
    """

    settings: Settings
    host: Host
    pipeline: Node[Any, Any]
    codecs: Codecs | None
    has_store: bool
    has_seal: bool
    budgets: Sequence[Budget] = ()


Rule: TypeAlias = Callable[[Deployment], Iterator[Lack]]


def lacks_of(deployment: Deployment) -> tuple[Lack, ...]:
    """What a deployment lacks to be regulated."""
    return tuple(lack for rule in RULES for lack in rule(deployment))


def check_profile(deployment: Deployment) -> None:
    """Checks a deployment, if its profile asks for something.

    Raises:
        ProfileUnmet: It lacks something.
    """
    if deployment.settings.is_regulated and (lacks := lacks_of(deployment)):
        raise ProfileUnmet(deployment.settings.profile, lacks)


def _required_plugins(one: Deployment) -> Iterator[Lack]:
    if not one.settings.plugins.required:
        yield Lack("no plugin is required", "name those that must be there in 'plugins.required'")


def _lock(one: Deployment) -> Iterator[Lack]:
    if one.settings.plugins.lock is None:
        remedy = "run 'flujo plugins lock', and name the file in 'plugins.lock'"
        yield Lack("the versions and files of plugins are not locked", remedy)


def _closed(one: Deployment) -> Iterator[Lack]:
    for name, policy in one.settings.plugins.policies.items():
        if policy == "open":
            yield Lack(f"plugin '{name}' is open: its errors are passed over", "take it out of 'plugins.policies'")


def _encryption(one: Deployment) -> Iterator[Lack]:
    if one.codecs is None or one.codecs.encrypting is None:
        remedy = "let 'codecs' have one that encrypts, such as 'codecs = [\"zstd\", \"aes-gcm\"]'"
        yield Lack("what is kept of runs is not encrypted", remedy)


def _seal(one: Deployment) -> Iterator[Lack]:
    if not one.has_store and not one.has_seal:
        remedy = "set 'FLUJO_SEAL_KEY', or give 'Flujo(seal_key=...)', or a store"
        yield Lack("runs are kept in states alone, and these are not sealed", remedy)


def _capture(one: Deployment) -> Iterator[Lack]:
    if one.settings.captures_content:
        yield Lack("plugins may capture contents", "take 'content_capture' out of the configuration")
    for address, node in everything(one.pipeline):
        if isinstance(node, Step) and isinstance(node.action, AgentAction) and traces_content(node.action.agent):
            remedy = "trace it with 'InstrumentationSettings(include_content=False)'"
            yield Lack(f"the agent of step '{address}' is traced with what it is told", remedy)


def _audit(one: Deployment) -> Iterator[Lack]:
    if STRICT_AUDIT not in one.host.assured:
        remedy = f"install one that has '{STRICT_AUDIT}' in its 'assures', and name it in 'plugins.required'"
        yield Lack("no plugin keeps a strict audit", remedy)


def _prices(one: Deployment) -> Iterator[Lack]:
    """A budget of US dollars refuses models without a known price; without one, nothing does."""
    for budget in one.budgets:
        if budget.unpriced == "allow":
            yield Lack(f"the budget of {budget} lets unpriced models through", "take 'unpriced' out of it")
    steps = (node for _, node in everything(one.pipeline) if isinstance(node, Step))
    has_agents = any(isinstance(step.action, AgentAction) for step in steps)
    if has_agents and not any(budget.cost_usd is not None for budget in one.budgets):
        yield Lack("models without a known price are not refused", "set a budget with 'cost_usd' in '[[budgets]]'")


def _approvers(one: Deployment) -> Iterator[Lack]:
    if one.host.hooks.authorize is not None:
        return
    for address, node in everything(one.pipeline):
        if isinstance(node, HumanInput):
            remedy = "install a plugin with 'authorize', which confirms who answers"
            yield Lack(f"step '{address}' asks a person, and nobody can tell who answers", remedy)


RULES: tuple[Rule, ...] = (_required_plugins, _lock, _closed, _encryption, _seal, _capture, _audit, _prices, _approvers)
"""All that the profile asks for, apart from what runs refuse by themselves: changed bodies, unsealed states, answers of
which nobody knows whose they are, and leaks of labelled data."""
