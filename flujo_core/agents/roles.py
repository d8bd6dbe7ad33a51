"""Agents for common tasks: plain factories with prompts, typed outputs and checks of these.

Every factory takes a ``model`` (or the name of one, looked up when the agent runs; without one, the agent must be given
one then), a ``prompt`` instead of its own, ``extra`` instructions after that, and what else ``Options`` has. What an
agent gives is checked; what is wrong with it is told to the model, which tries again.

A prompt has a version: it is in the agent's metadata, as ``prompt_version``, and grows whenever the prompt changes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, TypedDict, overload

from pydantic import BaseModel, Field, create_model
from pydantic_ai import Agent, ModelRetry, Tool
from pydantic_ai.models import Model
from pydantic_ai.output import OutputSpec
from pydantic_ai.settings import ModelSettings
from typing_extensions import TypeVar, Unpack

from flujo_core.agents.answers import GeneratedCode, Plan, PlannedTask, Review, SQLQuery, TextSummary, Verdict
from flujo_core.errors import DefinitionError

O = TypeVar("O")  # noqa: E741 - as pydantic-ai calls the output
E = TypeVar("E", bound=Enum)


class Options(TypedDict, total=False):
    """What every role takes.

    Attributes:
        prompt: Instructions instead of the role's own.
        extra: Instructions after those.
        name: The agent's name, instead of the role's.
        settings: Settings of the model, such as ``temperature``.
        retries: How often the model is asked again where what it gives is not valid; 2 unless told otherwise.
        tools: What it may call.
    """

    prompt: str
    extra: str
    name: str
    settings: ModelSettings
    retries: int
    tools: Sequence[Tool[Any] | Callable[..., Any]]


def CodeGeneratorAgent(
    model: Model | str | None = None,
    *,
    language: str = "python",
    check: Callable[[str], object] | None = None,
    **options: Unpack[Options],
) -> Agent[None, GeneratedCode]:
    """Writes code, which is at least parsed.

    Args:
        model: See the module.
        language: ``python`` and ``json`` are parsed by us; any other needs ``check``.
        check: Raises ``ValueError`` or ``SyntaxError`` where the code is not valid, instead of our own check.
        options: See ``Options``.

    Raises:
        DefinitionError: The language needs a ``check``.
    """
    parse = check or PARSERS.get(language.lower())
    if parse is None:
        known = " and ".join(f"'{name}'" for name in PARSERS)
        what = "a function that raises ValueError if it is wrong"
        raise DefinitionError(f"code in '{language}' needs 'check=', {what}; {known} do not")

    def parsed(made: GeneratedCode) -> GeneratedCode:
        try:
            parse(made.code)
        except (SyntaxError, ValueError) as error:
            raise ModelRetry(f"The code is not valid {language}: {_place(error)}") from None
        return made

    prompt = f"You write {language}. Give complete, correct, idiomatic code that does what is asked and nothing else."
    return _agent("code-generator", "1", model, prompt, GeneratedCode, parsed, options)


def _place(error: Exception) -> str:
    return f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)


PARSERS: Mapping[str, Callable[[str], object]] = {"python": ast.parse, "json": json.loads}
"""What checks code, by its language."""


def TextSummarizerAgent(
    model: Model | str | None = None, *, max_words: int = 100, **options: Unpack[Options]
) -> Agent[None, TextSummary]:
    """Says in few words what a text says.

    Args:
        model: See the module.
        max_words: How many words the summary may have.
        options: See ``Options``.

    Raises:
        DefinitionError: ``max_words`` is below 1.
    """
    if max_words < 1:
        raise DefinitionError(f"a summary has at least 1 word, not {max_words}")

    def short(made: TextSummary) -> TextSummary:
        if (words := len(made.text.split())) > max_words:
            raise ModelRetry(f"The summary has {words} words; use at most {max_words}.")
        return made

    prompt = (
        f"You summarize the text that you are given, in its own language and in at most {max_words} words."
        " Say only what the text says: no opinions, nothing from elsewhere. Keep names, numbers and dates as they are."
    )
    return _agent("text-summarizer", "1", model, prompt, TextSummary, short, options)


def SQLQueryAgent(
    model: Model | str | None = None,
    *,
    schema: str | Mapping[str, Mapping[str, str]],
    dialect: str = "sqlite",
    **options: Unpack[Options],
) -> Agent[None, SQLQuery]:
    """Writes queries in SQL: one statement that only reads, from tables and columns that there are. Needs sqlglot.

    Args:
        model: See the module.
        schema: The tables, by name: the type of each column, by its name; or the ``create table`` statements.
        dialect: The dialect, as sqlglot calls it: ``postgres``, ``sqlite``, ``duckdb``, ...
        options: See ``Options``.

    Raises:
        DefinitionError: The dialect or the schema is not what it should be.
        ConfigurationError: sqlglot is not installed: it is the extra ``sql``.
    """
    from flujo_core.agents.sql import check_dialect, flaw_of, tables_of, written  # noqa: PLC0415 - an extra

    check_dialect(dialect)
    tables = tables_of(schema, dialect)

    def valid(made: SQLQuery) -> SQLQuery:
        if (flaw := flaw_of(made.sql, tables, dialect)) is not None:
            raise ModelRetry(f"The query cannot be used: {flaw}")
        return made

    prompt = (
        f"You write one query in SQL of {dialect} that answers the question. It only reads. These are the tables, with"
        f" their columns and types; there are no others:\n{written(tables)}"
    )
    return _agent("sql-query", "1", model, prompt, SQLQuery, valid, options)


@overload
def ClassifierAgent(
    model: Model | str | None = ..., *, labels: type[E], **options: Unpack[Options]
) -> Agent[None, E]: ...
@overload
def ClassifierAgent(
    model: Model | str | None = ..., *, labels: Sequence[str] | Mapping[str, str], **options: Unpack[Options]
) -> Agent[None, str]: ...
def ClassifierAgent(model: Model | str | None = None, *, labels: Any, **options: Unpack[Options]) -> Agent[None, Any]:
    """Says which of some labels fits.

    Args:
        model: See the module.
        labels: The labels; or what each means, by label; or an enum, whose members it gives.
        options: See ``Options``.

    Raises:
        DefinitionError: There are fewer than two labels, or one twice.
    """
    meanings: Mapping[str, str] = labels if isinstance(labels, Mapping) else {}
    output: Any
    if isinstance(labels, type):
        members: type[Enum] = labels
        names, output = [str(one.value) for one in members], labels
    else:
        names = list(labels)
        output = Literal[tuple(names)]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DefinitionError("a classifier has two labels or more, each once")
    listed = "\n".join(f"- {name}: {meanings[name]}" if meanings.get(name) else f"- {name}" for name in names)
    prompt = f"Say which of these labels fits what you are given best; give the label alone:\n{listed}"
    return _agent("classifier", "1", model, prompt, output, None, options)


def ExtractorAgent(
    model: Model | str | None = None, *, output: OutputSpec[O], **options: Unpack[Options]
) -> Agent[None, O]:
    """Takes facts out of a text, in the form that is asked for.

    Args:
        model: See the module.
        output: The type of what it gives: a Pydantic model, whose fields and their descriptions say what to look for.
        options: See ``Options``.
    """
    prompt = (
        "Take the facts that are asked for out of the text that you are given, as they stand there. Where the text does"
        " not have one, leave it empty; never guess."
    )
    return _agent("extractor", "1", model, prompt, output, None, options)


def ReviewerAgent(
    model: Model | str | None = None, *, criteria: Sequence[str] = (), **options: Unpack[Options]
) -> Agent[None, Review]:
    """Looks for what is wrong with something.

    Args:
        model: See the module.
        criteria: What it looks at; none: whatever matters to who will use it.
        options: See ``Options``.
    """
    listed = "".join(f"\n- {one}" for one in criteria) or " whatever matters to those who will use it."
    prompt = (
        "You review what you are given. Name each issue that is really there, how severe it is, and what would mend it;"
        f" praise nothing. With no issue, or minor ones only, it is approved. Look at:{listed}"
    )
    return _agent("reviewer", "1", model, prompt, Review, None, options)


def PlannerAgent(
    model: Model | str | None = None,
    *,
    workers: Mapping[str, str] | None = None,
    max_tasks: int = 10,
    **options: Unpack[Options],
) -> Agent[None, Plan]:
    """Takes a goal apart into tasks, each after those that it needs.

    Args:
        model: See the module.
        workers: Who can do tasks, and what each can do, by name: then each task has one of them. None: nobody is named.
        max_tasks: How many tasks there may be.
        options: See ``Options``.

    Raises:
        DefinitionError: ``max_tasks`` is below 1, or ``workers`` is empty.
    """
    if max_tasks < 1:
        raise DefinitionError(f"a plan has at least 1 task, not {max_tasks}")
    if workers is not None and not workers:
        raise DefinitionError("a planner with 'workers' has at least one; leave it out for free names")

    def ordered(made: Plan) -> Plan:
        done: set[str] = set()
        for task in made.tasks:
            if task.name in done:
                raise ModelRetry(f"Two tasks are called '{task.name}'; give each a name of its own.")
            if missing := [one for one in task.needs if one not in done]:
                raise ModelRetry(f"Task '{task.name}' needs '{missing[0]}', which is not a task before it.")
            done.add(task.name)
        return made

    fields: dict[str, Any] = {} if workers is None else {"worker": (Literal[tuple(workers)], ...)}
    task = create_model("PlannedTask", __base__=PlannedTask, **fields)
    tasks: Any = (list[task], Field(min_length=1, max_length=max_tasks))  # type: ignore[valid-type]
    plan: type[Plan] = create_model("Plan", __base__=Plan, tasks=tasks)
    can = "".join(f"\n- {name}: {what}" for name, what in (workers or {}).items())
    prompt = (
        f"Take the goal that you are given apart into at most {max_tasks} tasks, each with a short name of its own."
        " Each says what is to come of it, and which tasks it needs; these come before it. Plan only what is needed."
        + (f" Each task has one of these workers:{can}" if can else "")
    )
    return _agent("planner", "1", model, prompt, plan, ordered, options)


def JudgeAgent(
    model: Model | str | None = None,
    *,
    criteria: Mapping[str, str],
    scale: tuple[float, float] = (0.0, 1.0),
    **options: Unpack[Options],
) -> Agent[None, Verdict]:
    """Scores something by each of some criteria.

    Args:
        model: See the module.
        criteria: What each criterion means, by its name.
        scale: The lowest and the highest score.
        options: See ``Options``.

    Raises:
        DefinitionError: There is no criterion, or the scale has no room.
    """
    low, high = scale
    if not criteria or not low < high:
        raise DefinitionError("a judge has criteria, and a scale from a lower to a higher score")

    class Score(BaseModel):
        score: float = Field(ge=low, le=high)
        reason: str = Field("", max_length=500)

    places: dict[str, Any] = {f"c{place}": (Score, Field(alias=name)) for place, name in enumerate(criteria)}
    scored = create_model("Scores", **places)

    def verdict(scores: BaseModel) -> Verdict:
        """Gives the score of each criterion."""
        given: dict[str, Score] = {name: getattr(scores, f"c{place}") for place, name in enumerate(criteria)}
        return Verdict(
            scores={name: one.score for name, one in given.items()},
            reasons={name: one.reason for name, one in given.items() if one.reason},
        )

    verdict.__annotations__["scores"] = scored
    listed = "".join(f"\n- {name}: {what}" for name, what in criteria.items())
    prompt = (
        f"Score what you are given by each of these criteria, from {low:g} (not at all) to {high:g} (fully), each with"
        f" a short reason. Judge only what is there; length is no merit:{listed}"
    )
    return _agent("judge", "1", model, prompt, verdict, None, options)


def _agent(
    role: str,
    version: str,
    model: Model | str | None,
    prompt: str,
    output: OutputSpec[O],
    check: Callable[[Any], Any] | None,
    options: Options,
) -> Agent[None, O]:
    own = "prompt" not in options
    instructions = "\n\n".join(filter(None, (options.get("prompt", prompt), options.get("extra"))))
    agent: Agent[Any, Any] = Agent(
        model,
        name=options.get("name", role),
        instructions=instructions,
        output_type=output,
        model_settings=options.get("settings"),
        retries=options.get("retries", 2),
        tools=options.get("tools", ()),
        metadata={"role": role, "prompt_version": version if own else "own"},
        defer_model_check=True,
    )
    if check is not None:
        agent.output_validator(check)
    return agent
