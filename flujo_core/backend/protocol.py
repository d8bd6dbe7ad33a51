"""Backend: what runs a step somewhere else; and what crosses to it and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pydantic_core import from_json, to_json

from flujo_core.model.hints import NO_HINTS, ResourceHints
from flujo_core.model.signature import RunInfo
from flujo_core.model.slotted import NamedTuple


class RemoteCall(NamedTuple):
    """One attempt of a step, as it crosses to where it runs: names and JSON.

    Attributes:
        step: Where its function is, ``module:qualname``; of a program that is run as such, the module is ``__main__``.
        name: The step's name.
        input: Its input, as JSON.
        info: What it may know of its run; ``info.address`` is where it stands in it.
        named: Its named inputs that there are, by parameter, as JSON.
        context: The values of its context's fields, as JSON; empty where it does not take it.
        context_type: Where the class of that is, ``module:qualname``; empty where it does not take it.
        hints: What it needs.
        timeout: In how many seconds it is to be stopped by force, or None.
    """

    step: str
    name: str
    input: bytes
    info: RunInfo
    named: Mapping[str, bytes] = {}
    context: bytes = b"{}"
    context_type: str = ""
    hints: ResourceHints = NO_HINTS
    timeout: float | None = None

    def __repr__(self) -> str:
        return f"<RemoteCall '{self.info.run_id}' '{self.info.address}'>"

    @property
    def limit(self) -> float | None:
        """In how many seconds it is to be stopped by force, of its timeout and its hints the sooner; or None."""
        limits = [one for one in (self.timeout, self.hints.max_runtime) if one is not None]
        return min(limits, default=None)

    def encoded(self) -> bytes:
        """The call as lines of JSON, for ``decoded``, anywhere."""
        hints, required = self.hints.given, self.hints.required
        facts = {
            "step": self.step, "name": self.name, "info": self.info._asdict(), "context_type": self.context_type,
            "named": list(self.named), "hints": hints, "required": None if required is None else list(required),
            "timeout": self.timeout,
        }  # fmt: skip
        return b"\n".join((to_json(facts), self.input, self.context, *self.named.values()))

    @staticmethod
    def decoded(data: bytes) -> RemoteCall:
        """The call that ``encoded`` wrote."""
        head, value, context, *named = data.split(b"\n")
        facts = from_json(head)
        hints = ResourceHints(**facts["hints"], required=facts["required"])
        return RemoteCall(
            facts["step"], facts["name"], value, RunInfo(**facts["info"]),
            dict(zip(facts["named"], named, strict=True)), context, facts["context_type"], hints, facts["timeout"],
        )  # fmt: skip


class RemoteOutput(NamedTuple):
    """It succeeded.

    Attributes:
        output: The output, as JSON.
        patch: What changed in the context, as JSON.
    """

    output: bytes
    patch: bytes = b"{}"

    def __repr__(self) -> str:
        return "RemoteOutput(...)"


class RemoteFailure(NamedTuple):
    """It failed.

    Attributes:
        message: What Flujo's own errors say; of others nothing, as their text may hold values.
        lineage: The error's classes, ``module:qualname``, from its own up to ``builtins:Exception``.
        trace: The lines of code that it came from, without its text.
    """

    message: str
    lineage: tuple[str, ...]
    trace: str = ""


class RemotePause(NamedTuple):
    """It asks a person, as ``PauseForHumanInput`` does.

    Attributes:
        question: What is asked.
        response: The name of the answer's type.
        expires_in: For how many seconds it can be answered, or None.
        on_expiry: What happens then: ``fail``, ``stop`` or ``default``.
        default: The answer if nobody gives one, as JSON.
        approvers: Who may answer; empty: anybody.
        quorum: How many must give the same answer.
        patch: What changed in the context, as JSON.
    """

    question: str
    response: str
    expires_in: float | None = None
    on_expiry: str = "fail"
    default: bytes = b"null"
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    patch: bytes = b"{}"

    def __repr__(self) -> str:
        return "RemotePause(...)"


class RemoteStop(NamedTuple):
    """It ends the run.

    Attributes:
        reason: Why.
    """

    reason: str

    def __repr__(self) -> str:
        return "RemoteStop(...)"


RemoteOutcome: TypeAlias = RemoteOutput | RemoteFailure | RemotePause | RemoteStop
"""How an attempt ended."""

RemoteItem: TypeAlias = RemoteOutcome
"""What a backend gives of an attempt. The last item is the outcome, and there is one; so far, there are no others."""

_KINDS: dict[str, type[RemoteOutcome]] = {
    kind.__name__: kind for kind in (RemoteOutput, RemoteFailure, RemotePause, RemoteStop)
}


def encoded_outcome(outcome: RemoteOutcome) -> bytes:
    """An outcome as JSON."""
    facts = {name: part.decode() if isinstance(part, bytes) else part for name, part in outcome._asdict().items()}
    return to_json({"kind": type(outcome).__name__, **facts})


def decoded_outcome(data: bytes) -> RemoteOutcome:
    """The outcome that ``encoded_outcome`` wrote."""
    facts: dict[str, Any] = from_json(data)
    kind = _KINDS[facts.pop("kind")]
    for name in ("output", "patch", "default"):
        if name in facts:
            facts[name] = facts[name].encode()
    for name in ("lineage", "approvers"):
        if name in facts:
            facts[name] = tuple(facts[name])
    return kind(**facts)


@runtime_checkable
class Backend(Protocol):
    """Runs attempts of steps somewhere else. ``Plugin.register_backends`` takes what makes one.

    Attributes:
        honours: The names of the ``ResourceHints`` that have their effect here. A step that requires another one is
            refused.
        isolates: Whether a step that ends its process, or does not end, harms nothing else, and is stopped by force.
    """

    honours: frozenset[str]
    isolates: bool

    def execute(self, call: RemoteCall, /) -> AsyncIterator[RemoteItem]:
        """Does one attempt: imports ``call.step`` there and calls it, as ``perform_call`` does; gives one outcome.

        What fails in the step, or with the place that it runs at, is a ``RemoteFailure``. If whoever iterates is
        cancelled, the attempt is stopped by force, where that can be done, before the cancellation goes on. It may be
        called on any event loop, many at once.
        """
        ...

    async def aclose(self) -> None:
        """Lets go of what it holds, and stops what still runs. It may be used again afterwards."""
        ...


BackendFactory: TypeAlias = Callable[[], Backend]
"""Makes a backend; called once for each ``Flujo`` that has a step on it."""
