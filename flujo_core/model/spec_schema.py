"""What a pipeline's spec may say: the keys of each kind of node, and the JSON Schema of it all."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.json_schema import models_json_schema

from flujo_core.errors import SpecError, did_you_mean

FORMAT = "flujo/1"
Place: TypeAlias = tuple[str | int, ...]

NODE = "#/$defs/Node"
BODY = "#/$defs/Body"
INLINE_AGENT = "InlineAgent"
"""Where the schema has the agents that are described in place; the model layer does not know what these may say."""

REF = "flujo:ref"
"""Stands for ``$ref``, which pydantic would look up while it does not know all that there is."""

Child: TypeAlias = Annotated[Any, WithJsonSchema({REF: BODY})]
"""A node, or a list of them; read later, so that what is wrong in it is told with its own place."""

Part: TypeAlias = Annotated[Any, WithJsonSchema({REF: NODE})]
Number: TypeAlias = int | float
TypeText: TypeAlias = Annotated[
    str, Field(description="A type: str, list[int], Literal['a', 'b'] | None, or one by its import path, module:name.")
]
Path: TypeAlias = Annotated[str, Field(description="An import path, module:name, that the configuration allows.")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Taken(_Part):
    """The value of a field: field ``a.b`` of what a function would be given."""

    field: Annotated[str, Field(min_length=1)]


Function: TypeAlias = Path | Taken


class RetryShape(_Part):
    """When a node is tried again."""

    attempts: int
    backoff: Number = 0.0
    factor: Number = 2.0
    max_backoff: Number = 60.0
    jitter: Number = 0.1
    on: (
        list[Annotated[str, Field(description="An exception of Python or Flujo by its name; others by path.")]] | None
    ) = None


class TimeoutShape(_Part):
    """How long an attempt may take, in seconds."""

    run: Number | None = None
    idle: Number | None = None


class CacheShape(_Part):
    """Whether outputs are kept for equal inputs."""

    key: Function | None = None
    ttl: Number | None = None


class _Marked(_Part):
    version: str | None = None
    was: str | None = None
    migrations: dict[str, Path | None] | None = None


class Policed(_Marked):
    retry: RetryShape | None = None
    timeout: Number | TimeoutShape | None = None
    fallback: Child = None
    cache: CacheShape | None = None


class HintsShape(_Part):
    """What a step needs of the backend that it runs on."""

    cpu: Number | None = None
    gpu: Number | None = None
    memory: Annotated[int | None, Field(description="Bytes.")] = None
    accelerator: str | None = None
    labels: dict[str, str] = {}
    priority: int | None = None
    queue: str | None = None
    max_runtime: Number | None = None
    required: list[str] | None = None


Range: TypeAlias = Annotated[list[Number], Field(min_length=2, max_length=2)]


class AllowShape(_Part):
    """What earlier steps may change of the agent that a step asks."""

    models: list[str] = []
    settings: Annotated[dict[str, Range], Field(description="The least and the greatest value, by setting.")] = {}
    instructions: bool = False
    tools: list[str] = []


class _Leaf(Policed):
    validators: Annotated[list[str], Field(description="Registered names, or import paths.")] = []
    backend: str | None = None
    resources: HintsShape | None = None
    allow_reconfigure: AllowShape | None = None


class Call(_Leaf):
    """A step that calls a function, or is the one that '@step' has made of it."""

    call: Path
    name: str | None = None


class Use(_Leaf):
    """A step that a plugin has registered."""

    use: str
    name: str | None = None
    takes: TypeText = "Any"
    gives: TypeText = "Any"


class MadePrompt(_Part):
    """A function that makes the prompt."""

    call: Path


class Ask(_Leaf):
    """A step that asks an agent."""

    agent: Annotated[str, Field(description="The step's name.")]
    of: Annotated[
        str | dict[str, Any],
        WithJsonSchema({"anyOf": [{"type": "string"}, {REF: f"#/$defs/{INLINE_AGENT}"}]}),
        Field(description="A registered name, an import path, or the spec of an agent."),
    ]
    input: TypeText | None = None
    prompt: str | MadePrompt | None = None
    deps: Path | None = None
    stream: Annotated[bool, Field(description="Whether its output is given in pieces.")] = False


class DefaultAnswer(_Part):
    """The answer that stands when nobody gave one."""

    default: Any


class Human(_Marked):
    """A step that asks a person."""

    human: Annotated[str, Field(description="The step's name.")]
    answer: TypeText
    ask: str
    approvers: list[str] = []
    quorum: int = 1
    expires_in: Annotated[str, Field(description="A duration of ISO 8601: P2D, PT30M.")] | None = None
    on_expiry: Literal["fail", "stop"] | DefaultAnswer = "fail"


class Scope(Policed):
    """A pipeline with a name, in which its steps run."""

    pipeline: str
    steps: Annotated[list[Part], Field(min_length=1)]


class Side(Policed):
    """Branches that run at the same time, each with the same input."""

    parallel: str
    branches: Annotated[dict[str, Child], Field(min_length=1)]
    into: TypeText | None = None
    max_concurrency: int | None = None
    on_error: Literal["cancel", "collect"] = "cancel"


class Each(Policed):
    """A body that runs for each item."""

    map: str
    body: Child
    over: Function | None = None
    key: Function | None = None
    max_concurrency: int | None = None
    on_error: Literal["cancel", "collect"] = "cancel"


class Again(Policed):
    """A body that runs until its output is enough."""

    loop: str
    body: Child
    until: Function
    max_iterations: int
    on_exhausted: Literal["fail", "return"] = "fail"


class Member(_Part):
    """A member of an enum."""

    member: Annotated[str, Field(description="Its import path: module:Class.NAME.")]


class Case(_Part):
    """A case whose value is no text."""

    value: Number | bool | str | Member | None
    then: Child


class Choice(Policed):
    """Cases, of which one runs."""

    branch: str
    on: Function
    cases: dict[str, Child] | list[Case] = {}
    default: Child = None


Shape: TypeAlias = Call | Use | Ask | Human | Scope | Side | Each | Again | Choice
SHAPES: Mapping[str, type[_Part]] = {
    "call": Call, "use": Use, "agent": Ask, "human": Human, "pipeline": Scope, "parallel": Side, "map": Each,
    "loop": Again, "branch": Choice,
}  # fmt: skip
"""The kinds of nodes, by the key that tells which one a node is."""


def shape_at(data: Mapping[str, Any], place: Place) -> Shape:
    """What a node says, checked key by key; the nodes in it are left as they are.

    Raises:
        SpecError: It is of no kind or of several, has a key that means nothing, or a value that cannot be.
    """
    kinds = [kind for kind in SHAPES if kind in data]
    if not kinds:
        first = next(iter(data), "")
        raise SpecError(f"nothing says of which kind this node is{did_you_mean(first, SHAPES)}", place)
    if len(kinds) > 1:
        raise SpecError(f"a node is of one kind, and this one has '{kinds[0]}' and '{kinds[1]}'", place)
    try:
        return SHAPES[kinds[0]].model_validate(data)  # type: ignore[return-value]
    except ValidationError as error:
        raise _flaw(error, kinds[0], data, place) from None


def _flaw(error: ValidationError, kind: str, data: Mapping[str, Any], place: Place) -> SpecError:
    """What is wrong at the deepest place, without the value: where one of several may stand, that is the likeliest."""
    found = [
        (_known(one["loc"], data), one)
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    where, first = max(found, key=lambda one: len(one[0]))  # the first of these
    if first["type"] == "extra_forbidden":
        key, known = str(where[-1]), list(SHAPES[kind].model_fields)
        hint = did_you_mean(key, known) if len(where) == 1 else ""
        return SpecError(f"'{key}' means nothing here{hint}", (*place, *where))
    if first["type"] == "missing":
        return SpecError(f"'{first['loc'][-1]}' is missing", (*place, *where))
    several = sum(place == where for place, _ in found) > 1
    return SpecError("none of what may stand here" if several else first["msg"].lower(), (*place, *where))


def _known(loc: tuple[str | int, ...], data: Any) -> Place:
    """The part of pydantic's place that is one in the data; the rest names members of unions, and what is missing."""
    found: list[str | int] = []
    for one in loc:
        if not (isinstance(data, Mapping) and one in data) and not (isinstance(data, list) and isinstance(one, int)):
            continue
        data = data[one]  # type: ignore[index]
        found.append(one)
    return tuple(found)


def schema_of_specs(agents: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of specs.

    Args:
        agents: That of the agents that are described in place.
    """
    kinds = get_args(Shape)
    _, made = models_json_schema([(kind, "validation") for kind in kinds], ref_template="#/$defs/{model}")
    defs: dict[str, Any] = {**_with_refs(made["$defs"]), **agents.get("$defs", {})}
    defs[INLINE_AGENT] = {key: value for key, value in agents.items() if key != "$defs"}
    defs["Node"] = {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]}
    defs["Body"] = {"anyOf": [{"$ref": NODE}, {"type": "array", "items": {"$ref": NODE}, "minItems": 1}]}
    steps = {"type": "object", "properties": {"steps": deepcopy(defs["Scope"]["properties"]["steps"])}}
    whole = [{**steps, "required": ["steps"], "additionalProperties": False}, *(defs[kind.__name__] for kind in kinds)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of Flujo",
        "anyOf": [_with_format(one) for one in whole],
        "$defs": defs,
    }


def _with_refs(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_refs(one) for one in schema]
    if isinstance(schema, dict):
        return {"$ref" if key == REF else key: _with_refs(value) for key, value in schema.items()}
    return schema


def _with_format(schema: dict[str, Any]) -> dict[str, Any]:
    made = deepcopy(schema)
    made["properties"] = {"format": {"const": FORMAT}, **made["properties"]}
    made["required"] = ["format", *made["required"]]
    return made
