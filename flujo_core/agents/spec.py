"""Agents from text: a role with what it takes, or an agent of one's own, as YAML or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_ai import Agent, StructuredDict
from pydantic_ai.exceptions import UserError
from pydantic_ai.settings import ModelSettings

from flujo_core.agents.builder import AgentBuilder
from flujo_core.agents.document import Document
from flujo_core.agents.roles import (
    ClassifierAgent,
    CodeGeneratorAgent,
    ExtractorAgent,
    JudgeAgent,
    PlannerAgent,
    ReviewerAgent,
    SQLQueryAgent,
    TextSummarizerAgent,
)
from flujo_core.errors import DefinitionError

JsonSchema: TypeAlias = dict[str, Any]


class _Settings(ModelSettings, total=False):
    """A model's settings as text can say them: where httpx is installed, pydantic-ai's take its ``Timeout``, too."""

    timeout: float  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str | None = None
    name: str | None = None
    prompt: str | None = None
    settings: _Settings | None = None
    retries: int | None = Field(None, ge=0)


class _RoleSpec(_Spec):
    extra: str | None = None


class _CodeGenerator(_RoleSpec):
    role: Literal["code-generator"]
    language: Literal["python", "json"] = "python"


class _TextSummarizer(_RoleSpec):
    role: Literal["text-summarizer"]
    max_words: int = Field(100, ge=1)


class _SQLQuery(_RoleSpec):
    role: Literal["sql-query"]
    tables: str | dict[str, dict[str, str]] = Field(alias="schema")
    dialect: str = "sqlite"


class _Classifier(_RoleSpec):
    role: Literal["classifier"]
    labels: list[str] | dict[str, str]


class _Extractor(_RoleSpec):
    role: Literal["extractor"]
    output: JsonSchema


class _Reviewer(_RoleSpec):
    role: Literal["reviewer"]
    criteria: list[str] = []


class _Planner(_RoleSpec):
    role: Literal["planner"]
    workers: dict[str, str] | None = None
    max_tasks: int = Field(10, ge=1)


class _Judge(_RoleSpec):
    role: Literal["judge"]
    criteria: dict[str, str]
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]


class _Own(_Spec):
    role: Literal["own"] = "own"
    output: JsonSchema | None = None


AnySpec: TypeAlias = (
    _CodeGenerator | _TextSummarizer | _SQLQuery | _Classifier | _Extractor | _Reviewer | _Planner | _Judge | _Own
)
SPEC: TypeAdapter[AnySpec] = TypeAdapter(Annotated[AnySpec, Field(discriminator="role")])

KINDS: Mapping[str, type[_Spec]] = {
    get_args(kind.model_fields["role"].annotation)[0]: kind for kind in get_args(AnySpec)
}
"""What a spec is, by its role; ``own`` is that of an agent without one."""


def agent_from_spec(spec: str | Path | Mapping[str, Any]) -> Agent[None, Any]:
    """The agent that a spec says: that of a role, or one of its own.

    A role is named by ``role`` (``classifier``), and takes what its factory takes, by the same names. Without ``role``,
    there are ``model``, ``prompt``, ``output`` (a JSON Schema of an object; else text), ``name``, ``settings`` and
    ``retries``.

    Args:
        spec: YAML or JSON, the path of a file of it, or what is in it.

    Raises:
        DefinitionError: It cannot be read, or says what does not go together.
        ConfigurationError: It is YAML, and PyYAML is not installed: it is the extra ``yaml``.
    """
    where = f"the agent spec '{spec}'" if isinstance(spec, Path) else "the agent spec"
    data = dict(spec if isinstance(spec, Mapping) else Document(spec, where, "role: reviewer").data)
    role = data.setdefault("role", "own")
    if role not in KINDS:
        raise DefinitionError(f"{where} is of role '{role}', which is none{_close(str(role), KINDS)}")
    try:
        read = KINDS[role].model_validate(data)
    except ValidationError as error:
        raise DefinitionError(f"{where}, of role '{role}', is not valid: {_flaws(error, KINDS[role])}") from None
    return _made(read)


def _close(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are {', '.join(known)}"


def _flaws(error: ValidationError, kind: type[_Spec]) -> str:
    """What is wrong with a spec, by the paths of its parts."""
    names = [field.alias or name for name, field in kind.model_fields.items() if name != "role"]
    found = []
    for one in error.errors(include_url=False, include_input=False):
        path = ".".join(map(str, one["loc"]))
        unknown = one["type"] == "extra_forbidden"
        found.append(f"'{path}' is not known{_close(path, names)}" if unknown else f"'{path}': {one['msg']}")
    return "; ".join(found)


def agent_spec_schema() -> JsonSchema:
    """The JSON Schema of agent specs, for editors."""
    return SPEC.json_schema(by_alias=True)


def _made(spec: _Spec) -> Agent[None, Any]:
    given = spec.model_dump(exclude={"model"}, exclude_none=True)
    role = given.pop("role")
    if isinstance(spec, _Own):
        return _own(spec)
    if isinstance(spec, _SQLQuery):
        given["schema"] = given.pop("tables")
    elif isinstance(spec, _Extractor):
        given["output"] = _output(spec.output)
    return FACTORIES[role](spec.model, **given)


def _own(spec: _Own) -> Agent[None, Any]:
    builder: AgentBuilder[Any] = AgentBuilder().with_settings(**cast(ModelSettings, spec.settings or {}))
    if spec.model is not None:
        builder = builder.with_model(spec.model)
    if spec.name is not None:
        builder = builder.with_name(spec.name)
    if spec.prompt is not None:
        builder = builder.with_prompt(spec.prompt)
    if spec.retries is not None:
        builder = builder.with_retries(spec.retries)
    if spec.output is not None:
        builder = builder.with_output(_output(spec.output))
    return builder.build()


def _output(schema: JsonSchema) -> Any:
    try:
        return StructuredDict(schema)
    except UserError:
        raise DefinitionError(
            "the output of an agent spec is the JSON Schema of an object: {type: object, ...}"
        ) from None


FACTORIES: Mapping[str, Callable[..., Agent[None, Any]]] = {
    "classifier": ClassifierAgent,
    "code-generator": CodeGeneratorAgent,
    "extractor": ExtractorAgent,
    "judge": JudgeAgent,
    "planner": PlannerAgent,
    "reviewer": ReviewerAgent,
    "sql-query": SQLQueryAgent,
    "text-summarizer": TextSummarizerAgent,
}
"""What makes the agent of a role."""
