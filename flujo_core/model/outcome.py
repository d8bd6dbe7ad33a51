"""What a step or a hook may give instead of a plain value: questions, ends, and changes of the pipeline itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from flujo_core.errors import DefinitionError, FlujoError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

    from flujo_core.model.flow import Node

Out = TypeVar("Out", covariant=True)
T = TypeVar("T")


class Outcome:
    """What a step may give instead of a plain output, or around one."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any, /) -> CoreSchema:
        """pydantic-ai asks for the schema of what an agent's output function gives."""
        from pydantic_core import core_schema  # noqa: PLC0415 - dear to import

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any, /) -> dict[str, Any]:
        return {}


class Default(Generic[Out]):
    """For ``on_expiry``: the answer to a question that nobody answered in time.

    Args:
        value: The answer; validated as a person's would be.
    """

    __slots__ = ("value",)

    def __init__(self, value: Out) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Default(...)"


OnExpiry: TypeAlias = Literal["fail", "stop"] | Default[T]
"""What happens when nobody has answered in time."""


class PauseForHumanInput(Outcome, Generic[Out]):
    """Asks a person, and goes on with the answer: as the step's output, or, of a hook, as ``call.answer``.

    No code before the pause is run again. What the step has changed in its context until then is committed with the
    answer.

    Args:
        question: What is asked. It is stored with the run.
        response_model: The answer's type; of a step, one that its output type takes.
        expires_in: For how long it can be answered; None: as long as the run lives.
        on_expiry: What happens then: the step fails, the run is stopped, or ``Default(value)`` is the answer.
        approvers: Who may answer; empty: anybody.
        quorum: How many different approvers must give the same answer.

    Raises:
        DefinitionError: A term cannot be.
    """

    __slots__ = ("approvers", "expires_in", "on_expiry", "question", "quorum", "response_model")

    def __init__(
        self,
        question: str,
        response_model: type[Out],
        *,
        expires_in: timedelta | None = None,
        on_expiry: OnExpiry[Out] = "fail",
        approvers: Sequence[str] = (),
        quorum: int = 1,
    ) -> None:
        if not isinstance(question, str):
            raise DefinitionError(f"a question is text, not {type(question).__name__!r}")
        self.question = question
        self.response_model = response_model
        self.expires_in, self.on_expiry, self.approvers, self.quorum = checked_terms(
            expires_in, on_expiry, approvers, quorum
        )

    def __repr__(self) -> str:
        return "PauseForHumanInput(...)"


def checked_terms(
    expires_in: timedelta | None, on_expiry: OnExpiry[T], approvers: Sequence[str], quorum: int
) -> tuple[timedelta | None, OnExpiry[T], tuple[str, ...], int]:
    """The terms of a question, if they can be.

    Raises:
        DefinitionError: One cannot.
    """
    is_time = isinstance(expires_in, timedelta | None)
    if not (is_time and (expires_in is None or expires_in > timedelta(0))):
        raise DefinitionError("'expires_in' of a question is a 'timedelta' above 0, such as 'timedelta(days=2)'")
    if not (isinstance(on_expiry, Default) or on_expiry in ("fail", "stop")):
        raise DefinitionError("'on_expiry' of a question is 'fail', 'stop' or 'Default(value)'")
    if isinstance(approvers, str) or not all(type(one) is str and one for one in approvers):
        raise DefinitionError("'approvers' of a question is a list of names")
    if type(quorum) is not int or quorum < 1:
        raise DefinitionError("'quorum' of a question is a whole number, at least 1")
    if approvers and quorum > len(set(approvers)):
        raise DefinitionError(f"'quorum' of a question is {quorum}, and it has {len(set(approvers))} approvers")
    return expires_in, on_expiry, tuple(approvers), quorum


class Stop(Outcome):
    """Ends the run here, from any depth, with status ``stopped``; not a failure.

    Args:
        reason: Why, for people. It is stored with the run.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return "Stop(...)"


Added: TypeAlias = "Node[Any, Any] | str | Mapping[str, Any]"
"""What a mutation puts into a pipeline: the name of a registered step, a node made of such names, or a spec of one."""


class PipelineMutation(Outcome, Generic[Out]):
    """A step's output, with a change of what comes after the step in its scope.

    It changes this instance of the scope only: this iteration, item, branch or run. What is put in is made of
    registered steps and agents, and never of import paths or functions: a model may have written it. The change is
    checked against the types and names around it, offered to plugins that ``authorize``, and recorded with the step.
    One that cannot be is refused, which is recorded too, and the run goes on with the output alone.

    Args:
        output: The step's output.
        insert_after: What comes after a node, by the node's name: that of the step itself, or of one after it.
        replace: What stands in the place of a node, by the node's name. A registered step that is given by its name
            alone gets the name of what it replaces.
        remove: The names of nodes that are not to run. A name that is gone is not used again in this instance.

    Raises:
        DefinitionError: One of them is something else.
    """

    __slots__ = ("insert_after", "output", "remove", "replace")

    def __init__(
        self,
        output: Out,
        *,
        insert_after: Mapping[str, Sequence[Added]] | None = None,
        replace: Mapping[str, Added] | None = None,
        remove: Sequence[str] = (),
    ) -> None:
        if isinstance(remove, str) or not all(type(one) is str for one in remove):
            raise DefinitionError("'remove' of a mutation is a list of names")
        self.output = output
        self.insert_after = dict(insert_after or {})
        self.replace = dict(replace or {})
        self.remove = tuple(remove)
        if any(isinstance(one, str | Mapping) or not isinstance(one, Sequence) for one in self.insert_after.values()):
            raise DefinitionError("'insert_after' of a mutation has a list of nodes for each name")

    def __repr__(self) -> str:
        return "PipelineMutation(...)"


class Reconfigure(Outcome, Generic[Out]):
    """A step's output, with a change of the agent of a later step of the same scope.

    It changes this instance of the scope only, within what that step's ``allow_reconfigure`` allows. Like a mutation it
    is offered to plugins that ``authorize``, recorded, and refused where it cannot be, with the run going on.

    Args:
        output: The step's output.
        target: The name of the step.
        model: The name of the model that it asks instead of its own.
        instructions: What the agent is told beside its own instructions.
        settings: Settings of the model, such as ``{"temperature": 0.2}``.
        tools: The names of registered tools that the agent has beside its own.

    Raises:
        DefinitionError: One of them is something else.
    """

    __slots__ = ("instructions", "model", "output", "settings", "target", "tools")

    def __init__(
        self,
        output: Out,
        *,
        target: str,
        model: str | None = None,
        instructions: str | None = None,
        settings: Mapping[str, float] | None = None,
        tools: Sequence[str] = (),
    ) -> None:
        for name, value in (("target", target), ("model", model), ("instructions", instructions)):
            if type(value) is not str and (value is not None or name == "target"):
                raise DefinitionError(f"'{name}' of a reconfiguration is a text, not {type(value).__name__!r}")
        if isinstance(tools, str) or not all(type(one) is str for one in tools):
            raise DefinitionError("'tools' of a reconfiguration is a list of names")
        self.output = output
        self.target = target
        self.model = model
        self.instructions = instructions
        self.settings = dict(settings or {})
        self.tools = tuple(tools)

    def __repr__(self) -> str:
        return "Reconfigure(...)"


Change: TypeAlias = PipelineMutation[Any] | Reconfigure[Any]
CHANGES = (PipelineMutation, Reconfigure)
"""The outcomes that change the pipeline."""


class Skip(Generic[Out]):
    """Given by ``pre_step_execution``: the step does not run, and ``output`` stands for its result.

    Args:
        output: Validated against the step's output type, as the step's own would be.
    """

    __slots__ = ("output",)

    def __init__(self, output: Out) -> None:
        self.output = output

    def __repr__(self) -> str:
        return "Skip(...)"


class Veto(FlujoError):
    """Raised by a hook to refuse the run. It is never swallowed.

    Args:
        reason: Why, for people. It is stored with the run.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
