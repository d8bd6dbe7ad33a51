"""Pipelines with and without leaks of labelled data; each case builds one, and names the ends of its leaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel
from pydantic_ai import Agent, RunContext, Tool
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider

from flujo_core import (
    AgentReply,
    Branch,
    ContextualAgentFactory,
    Flujo,
    From,
    HTTPAgent,
    HumanInput,
    Label,
    Labels,
    Loop,
    Map,
    Node,
    Parallel,
    PipelineContext,
    Reconfigurable,
    Reconfigure,
    RunInfo,
    Step,
    step,
    tool,
)
from flujo_core.model.reconfiguration import Reconfigured
from flujo_core.model.tool import ToolFacts

Phi = Annotated[str, Label("phi")]


class Patient(BaseModel):
    name: Phi
    age: int
    ward: str = ""

    @property
    def shown(self) -> str:
        return f"{self.name}, {self.age}"


class Ward(BaseModel):
    title: str
    patients: list[Patient]


class Report(BaseModel):
    about: Phi
    text: str


class Pair(BaseModel):
    left: Patient
    right: str


@dataclass
class Parcel:
    inside: Patient
    number: int


@dataclass
class Sealed:
    name: Phi

    def __post_init__(self) -> None:
        self.shown = self.name


class Chart(PipelineContext):
    patient: Phi = ""
    visits: int = 0
    log: list[str] = []


class Plain(PipelineContext):
    note: str = ""
    log: list[str] = []
    visits: int = 0


def outside(output: Any = str, **options: Any) -> Agent[None, Any]:
    """An agent on a model outside."""
    return Agent("openai:gpt-5", output_type=output, defer_model_check=True, **options)


def inside(output: Any = str, **options: Any) -> Agent[None, Any]:
    """An agent on a model that asks nobody."""
    return Agent(TestModel(), output_type=output, **options)


def ask(name: str = "ask", agent: Any = None, **options: Any) -> Step[Any, Any]:
    """A step that asks an agent outside, unless it is given another."""
    return Step.agent(name, outside() if agent is None else agent, **options)


@step
async def read(key: str) -> Patient:
    return Patient(name="Ada", age=36)


@step
async def read_text(key: str) -> Phi:
    return "Ada"


@step
async def read_ward(key: str) -> Ward:
    return Ward(title="east", patients=[])


@step
async def plain(key: str) -> str:
    return key


@step
async def summarise(patient: Patient) -> str:
    return str(patient)


@step
async def passed(value: str) -> str:
    return value.strip()


@step
async def same(patient: Patient) -> Patient:
    return patient


@step(labels=Labels(clears=["phi"]))
async def mask(patient: Patient) -> Patient:
    return patient


@step(labels=Labels(clears=["phi"]))
async def mask_text(text: str) -> str:
    return "x"


@step
async def age(patient: Patient) -> int:
    return patient.age


@step
async def is_adult(patient: Patient) -> bool:
    return len(patient.name) > 1


class Isolated:
    """A boundary without plugins."""

    masks: frozenset[str] = frozenset()

    def has_model(self, name: str, /) -> bool:
        return False

    def has_backend(self, name: str, /) -> bool:
        return name.rpartition("/")[2] in ("local", "process")

    def tool(self, name: str, /) -> ToolFacts | None:
        return None


class Case(NamedTuple):
    """One pipeline.

    Attributes:
        build: Makes it.
        ends: The leaks that it has: field and source, and what it leaves by.
        context: The class of its context.
    """

    build: Callable[[], Node[Any, Any]]
    ends: tuple[tuple[str, str], ...] = ()
    context: type[PipelineContext] = PipelineContext


NAME = "'name' of step 'read'"
MODEL = "model openai:gpt-5 at ask"

LEAKS: dict[str, Case] = {}
CLEAN: dict[str, Case] = {}


def leaks(*ends: tuple[str, str], context: type[PipelineContext] = PipelineContext) -> Callable[[Any], Any]:
    """A case that has these leaks."""

    def kept(build: Callable[[], Node[Any, Any]]) -> Callable[[], Node[Any, Any]]:
        LEAKS[build.__name__.replace("_", " ").strip()] = Case(build, ends, context)
        return build

    return kept


def clean(context: type[PipelineContext] = PipelineContext) -> Callable[[Any], Any]:
    """A case without leaks."""

    def kept(build: Callable[[], Node[Any, Any]]) -> Callable[[], Node[Any, Any]]:
        CLEAN[build.__name__.replace("_", " ").strip()] = Case(build, (), context)
        return build

    return kept


# ------------------------------------------------------------------------------------------------------ sources, edges


@leaks(("'name' of the input of the run", MODEL))
def input_of_the_run() -> Any:
    return ask(input=Patient, prompt="{{ input.name }}")


@leaks(("the input of the run", MODEL))
def labelled_text_as_the_prompt() -> Any:
    @step
    async def given(text: Phi) -> str:
        return text

    return given >> ask()


@leaks((NAME, MODEL))
def field_in_a_template() -> Any:
    return read >> ask(input=Patient, prompt="{{ input.name }}")


@leaks((NAME, MODEL))
def whole_model_in_a_template() -> Any:
    return read >> ask(input=Patient, prompt="{{ input }}")


@leaks((NAME, MODEL))
def property_in_a_template() -> Any:
    return read >> ask(input=Patient, prompt="{{ input.shown }}")


@leaks((NAME, MODEL))
def through_a_step_that_gives_text() -> Any:
    return read >> summarise >> ask()


@leaks((NAME, MODEL))
def through_many_steps_that_give_text() -> Any:
    return read >> summarise >> passed >> passed.named("again") >> ask()


@leaks((NAME, MODEL))
def through_a_step_that_gives_a_bool() -> Any:
    return read >> is_adult >> ask(input=bool, prompt="{{ input }}")


@leaks((NAME, MODEL))
def through_an_agent_inside() -> Any:
    return read >> Step.agent("first", inside(), input=Patient, prompt="{{ input.name }}") >> ask()


@leaks((NAME, MODEL))
def through_a_model_that_says_where_it_is() -> Any:
    @step
    async def report(patient: Patient) -> Report:
        return Report(about=patient.name, text="")

    return read >> report >> ask(input=Report, prompt="{{ input.about }}")


@leaks(("'patients.*.name' of step 'read_ward'", MODEL))
def items_of_a_list() -> Any:
    return read_ward >> ask(input=Ward, prompt="{{ input.patients }}")


@leaks(("'inside.name' of step 'pack'", MODEL))
def field_of_a_dataclass() -> Any:
    @step
    async def pack(key: str) -> Parcel:
        return Parcel(Patient(name="", age=1), 1)

    return pack >> ask(input=Parcel, prompt="{{ input.inside.name }}")


@leaks(("step 'find'", MODEL))
def label_that_a_step_adds() -> Any:
    @step(labels=Labels(adds=["phi"]))
    async def find(key: str) -> str:
        return key

    return find >> ask()


@leaks(("what step 'use' takes", MODEL))
def label_that_only_the_taker_knows() -> Any:
    @step
    async def use(text: Phi) -> str:
        return text

    return plain >> use >> ask()


@leaks(("step 'extract'", MODEL))
def what_an_agent_extracts() -> Any:
    return Step.agent("extract", inside(Phi)) >> ask()


# ------------------------------------------------------------------------------------------------------- named inputs


@leaks((NAME, MODEL))
def named_input_of_a_step() -> Any:
    @step
    async def write(*, patient: Annotated[Patient, From("read")]) -> str:
        return f"{patient}"

    return read >> age >> write >> ask()


@leaks((NAME, MODEL))
def path_of_a_named_input() -> Any:
    @step
    async def write(*, name: Annotated[str, From("read", path="name")]) -> str:
        return name

    return read >> age >> write >> ask()


@leaks((NAME, MODEL))
def named_input_in_a_template() -> Any:
    return read >> age >> ask(input=int, prompt="{{ read.name }} is {{ input }}")


@leaks(("'name' of the input of the run", MODEL))
def input_of_the_run_by_name() -> Any:
    @step
    async def write(*, patient: Annotated[Patient, From.run_input]) -> str:
        return f"{patient}"

    return write >> ask()


@leaks(("the input of the run", MODEL))
def label_at_a_named_input() -> Any:
    @step
    async def write(*, text: Annotated[str, Label("phi"), From.run_input]) -> str:
        return text

    return write >> ask()


@leaks(("'name' of step 'inner/read'", MODEL))
def child_of_a_named_pipeline() -> Any:
    @step
    async def write(*, patient: Annotated[Patient, From("inner/read")]) -> str:
        return f"{patient}"

    return (read >> age).named("inner") >> write >> ask()


@leaks((NAME, MODEL))
def prompt_function() -> Any:
    def prompt(patient: Patient) -> str:
        return patient.name.upper()

    return read >> ask(prompt=prompt)


@leaks((NAME, MODEL))
def named_input_of_a_prompt_function() -> Any:
    def prompt(years: int, *, name: Annotated[str, From("read", path="name")]) -> str:
        return f"{name} {years}"

    return read >> age >> ask(prompt=prompt)


# -------------------------------------------------------------------------------------------------------- other nodes


@leaks(("'name' of step 'both[left]/read'", MODEL))
def branches_as_a_dict() -> Any:
    return Parallel("both", left=read, right=plain) >> ask(input=dict[str, Any], prompt="{{ input.left.name }}")


@leaks(("'name' of step 'both[left]/read'", MODEL))
def branches_into_a_model() -> Any:
    return Parallel("both", left=read, right=plain, into=Pair) >> ask(input=Pair, prompt="{{ input.left }}")


@leaks(("'name' of step 'both[left]/read'", MODEL))
def child_of_a_branch() -> Any:
    @step
    async def write(*, patient: Annotated[Patient, From("both[left]/read")]) -> str:
        return f"{patient}"

    return Parallel("both", left=read >> age, right=plain) >> write >> ask()


@leaks(("'patients.*.name' of step 'read_ward'", "model openai:gpt-5 at each[*]/ask"))
def items_of_a_map() -> Any:
    def patients(ward: Ward) -> list[Patient]:
        return ward.patients

    return read_ward >> Map("each", ask(input=Patient, prompt="{{ input.name }}"), over=patients)


@leaks(("'patients.*.name' of step 'read_ward'", MODEL))
def outputs_of_a_map() -> Any:
    return (
        read_ward
        >> Map("each", summarise, over=lambda ward: ward.patients)
        >> ask(input=list[str], prompt="{{ input }}")
    )


@leaks(("'patients.*.name' of step 'read_ward'", "agent HTTPAgent at each[*]/post"))
def key_of_a_map() -> Any:
    @step(labels=Labels(clears=["phi"]))
    async def number(patient: Patient) -> str:
        return "1"

    post = Step.agent("post", HTTPAgent("https://agents.example/ask"))
    return read_ward >> Map("each", number >> post, over=lambda ward: ward.patients, key=lambda one: one.name)


@leaks((NAME, "model openai:gpt-5 at each[*]/ask"))
def items_that_a_built_in_makes() -> Any:
    return read >> Map("each", passed.named("one") >> ask(), over=iter, key=str)


@leaks(("step 'read_all'", "model openai:gpt-5 at each[*]/ask"), context=Plain)
def items_that_a_function_makes_of_the_context() -> Any:
    @step
    async def read_all(key: str, context: Plain) -> int:
        patient = Patient(name=key, age=1)
        context.log.append(patient.name)
        return 1

    found = read_all.policy(labels=Labels(adds=["phi"]))

    def lines(number: int, context: Plain) -> list[str]:
        return context.log

    return found >> Map("each", ask(), over=lines)


@leaks(("'patients.*.name' of step 'read_ward'", "model openai:gpt-5 at each[*]/ask"))
def item_of_a_map_by_name() -> Any:
    @step
    async def write(*, patient: Annotated[Patient, From.scope_input]) -> str:
        return f"{patient}"

    return read_ward >> Map("each", age >> write >> ask(), over=lambda ward: ward.patients)


@leaks(("step 'again[*]/look'", "model openai:gpt-5 at again[*]/ask"))
def loop_that_feeds_back() -> Any:
    @step
    async def look(text: str) -> Phi:
        return text

    return Loop("again", ask() >> look, until=bool, max_iterations=2)


@leaks(("step 'again[*]/look'", "model openai:gpt-5 at again[*]/ask"))
def iteration_before_by_name() -> Any:
    @step
    async def look(text: str) -> Phi:
        return text

    @step
    async def write(*, before: Annotated[str, From("look")] = "") -> str:
        return before

    @step
    async def drop(text: str) -> str:
        return "x"

    clear = drop.policy(labels=Labels(clears=["phi"]))
    return Loop("again", write >> ask() >> look >> clear, until=bool, max_iterations=2)


@leaks((NAME, MODEL))
def case_of_a_branch() -> Any:
    route = (
        Branch("route", on=lambda one: one.age > 3).case(True, summarise).case(False, mask >> summarise.named("other"))
    )
    return read >> route >> ask()


@leaks((NAME, "model openai:gpt-5 at route[~default]/ask"))
def default_of_a_branch() -> Any:
    return read >> summarise >> Branch("route", on=len).case(1, passed).default(ask())


@leaks((NAME, MODEL))
def question_to_a_person_and_the_answer() -> Any:
    return read >> HumanInput("approve", str, ask="May we send {{ input.name }}?") >> ask()


@leaks(("step 'who'", MODEL))
def answer_that_is_labelled() -> Any:
    return HumanInput("who", Phi, ask="Who?") >> ask()  # type: ignore[arg-type]


@leaks((NAME, MODEL))
def fallback_that_does_not_clear() -> Any:
    return read >> mask.policy(fallback=same) >> ask(input=Patient, prompt="{{ input.name }}")


@leaks((NAME, "model openai:gpt-5 at first~fallback/ask"))
def fallback_that_is_outside() -> Any:
    first = Step.agent("first", inside(), input=Patient, prompt="{{ input.name }}")
    return read >> first.policy(fallback=ask(input=Patient, prompt="{{ input.name }}"))


@leaks((NAME, MODEL))
def steps_that_stream() -> Any:
    @step
    async def words(patient: Patient) -> AsyncIterator[str]:
        for word in str(patient).split():
            yield word

    @step
    async def loud(words: AsyncIterator[str]) -> AsyncIterator[str]:
        async for word in words:
            yield word.upper()

    return read >> words >> loud >> ask()


@leaks(("step 'words'", MODEL))
def pieces_that_are_labelled() -> Any:
    @step
    async def words(key: str) -> AsyncIterator[Phi]:
        yield key

    return words >> ask()


# ------------------------------------------------------------------------------------------------------------- context


@leaks(("'patient' of the context", MODEL), context=Chart)
def context_in_an_output() -> Any:
    @step
    async def write(text: str, context: Chart) -> str:
        return context.patient

    return write >> ask()


@leaks(("'patient' of the context", MODEL), context=Chart)
def context_in_a_helper() -> Any:
    @step
    async def write(text: str, context: Chart) -> str:
        return repr([context])

    return write >> ask()


@leaks((NAME, MODEL), context=Plain)
def context_that_carries_what_was_read() -> Any:
    @step
    async def note(patient: Patient, context: Plain) -> int:
        context.note = patient.name
        return 1

    @step
    async def write(number: int, context: Plain) -> str:
        return context.note

    return read >> note >> age_of_nobody >> write >> ask()


@step
async def age_of_nobody() -> int:
    return 1


@leaks((NAME, MODEL), context=Plain)
def context_that_is_changed_in_place() -> Any:
    @step
    async def note(patient: Patient, context: Plain) -> Patient:
        context.log.append(patient.name)
        return patient

    def prompt(number: int, context: Plain) -> str:
        return " ".join(context.log)

    return read >> note >> age_of_nobody >> ask(prompt=prompt)


@leaks(("'name' of step 'both[left]/read'", MODEL), context=Plain)
def context_of_a_branch() -> Any:
    @step
    async def note(patient: Patient, context: Plain) -> int:
        context.note = patient.name
        return 1

    @step
    async def written(numbers: dict[str, Any], context: Plain) -> str:
        return context.note

    return Parallel("both", left=read >> note, right=age_of_nobody) >> written >> ask()


@leaks(("'patient' of the context", MODEL), context=Chart)
def feedback_of_a_validator() -> Any:
    def fits(text: str, context: Chart) -> str | None:
        return None if context.patient in text else f"It does not name {context.patient}."

    return plain >> ask(validators=[fits])


# -------------------------------------------------------------------------------------------------------------- agents


@leaks((NAME, MODEL))
def deps_of_an_agent() -> Any:
    def deps(patient: Patient) -> Patient:
        return patient

    return read >> ask(agent=outside(deps_type=Patient), deps=deps, prompt="{{ input.age }}", input=Patient)


@leaks((NAME, "model a model that is known when its agent is built at ask"))
def agent_that_is_built_of_its_input() -> Any:
    def build(patient: Patient) -> Agent[None, str]:
        return Agent(TestModel(), instructions=f"{patient}")

    return read >> ask(agent=ContextualAgentFactory(build), prompt="{{ input.age }}")


@leaks(("a tool of step 'ask'", MODEL))
def tool_that_gives_labelled_text() -> Any:
    @tool
    async def look_up(key: str) -> Phi:
        "Looks up a patient."
        return "Ada"

    return plain >> ask(agent=outside(tools=[look_up.as_tool()]))


@leaks(("'name' of a tool of step 'ask'", MODEL))
def plain_tool_that_gives_labelled_text() -> Any:
    agent = outside()

    @agent.tool
    async def look_up(ctx: RunContext[None], key: str) -> Patient:
        "Looks up a patient."
        return Patient(name="Ada", age=36)

    return plain >> ask(agent=agent)


@leaks(("'patient' of the context", MODEL), context=Chart)
def tool_that_reads_the_context() -> Any:
    @tool
    async def look_up(key: str, context: Chart) -> str:
        "Looks up a patient."
        return context.patient

    return plain >> ask(agent=outside(tools=[look_up.as_tool()]))


@leaks((NAME, MODEL), context=Plain)
def tool_that_writes_into_the_context() -> Any:
    @tool
    async def keep(text: str, context: Plain) -> str:
        "Keeps a text."
        context.note = text
        return "kept"

    @step
    async def write(*, context: Plain) -> str:
        return context.note

    first = Step.agent("first", inside(tools=[keep.as_tool()]), input=Patient, prompt="{{ input.name }}")
    return read >> first >> write >> ask()


@leaks((NAME, "tool search (the web) at look"))
def tool_with_egress_of_an_agent_inside() -> Any:
    @tool(egress="the web")
    async def search(text: str) -> str:
        "Searches."
        return text

    agent = inside(tools=[search.as_tool()])
    return read >> Step.agent("look", agent, input=Patient, prompt="{{ input.name }}")


@leaks((NAME, "tool search at look"))
def plain_tool_with_egress() -> Any:
    async def search(text: str) -> str:
        "Searches."
        return text

    agent = inside(tools=[Tool(search, metadata={"egress": True})])
    return read >> Step.agent("look", agent, input=Patient, prompt="{{ input.name }}")


@leaks((NAME, "step search at search"))
def tool_with_egress_as_a_step() -> Any:
    @tool(egress=True)
    async def search(text: str) -> str:
        "Searches."
        return text

    return read >> summarise >> search.as_step()


@leaks((NAME, "step search at search/call"))
def tool_with_egress_that_needs_approval() -> Any:
    @tool(egress=True, requires_approval=True)
    async def search(text: str) -> str:
        "Searches."
        return text

    return read >> summarise >> search.as_step()


@leaks((NAME, "model openai:gpt-5 at look!inner/ask"))
def pipeline_that_is_a_tool() -> Any:
    inner = Flujo(ask()).as_tool(name="inner", description="Asks.")
    agent = inside(tools=[inner])
    return read >> Step.agent("look", agent, input=Patient, prompt="{{ input.name }}")


@leaks(("'name' of step 'look!inner/read'", "model openai:gpt-5 at look"))
def pipeline_that_is_a_tool_and_gives_labelled_data() -> Any:
    inner = Flujo(read >> summarise).as_tool(name="inner", description="Reads.")
    return plain >> Step.agent("look", outside(tools=[inner]))


@leaks((NAME, "agent HTTPAgent at post"))
def agent_behind_http() -> Any:
    return read >> Step.agent("post", HTTPAgent("https://agents.example/ask", takes=Patient))


class Unknown:
    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(input)


class Near(Unknown):
    egress = False


@leaks((NAME, "agent Unknown at post"))
def agent_of_another_library() -> Any:
    return read >> summarise >> Step.agent("post", Unknown())


@leaks((NAME, "model openai:gpt-5 at ask"))
def model_that_stands_in_for_another() -> Any:
    model = OpenAIChatModel("gpt-5", provider=OpenAIProvider(api_key="none"))
    return read >> summarise >> ask(agent=Agent(FallbackModel(TestModel(), model)))


@leaks((NAME, "model a model that is known when the agent runs at ask"))
def agent_without_a_model() -> Any:
    return read >> summarise >> ask(agent=Agent())


@leaks((NAME, MODEL))
def model_that_a_run_may_give() -> Any:
    may = Reconfigurable(models=["openai:gpt-5"])
    return read >> summarise >> ask(agent=inside(), allow_reconfigure=may)


@leaks((NAME, MODEL))
def instructions_that_a_run_gives() -> Any:
    @step
    async def tell(patient: Patient) -> Reconfigure[int]:
        return Reconfigure(1, target="ask", instructions=patient.name)

    return (
        read
        >> tell
        >> age_of_nobody
        >> ask(input=int, prompt="{{ input }}", allow_reconfigure=Reconfigurable(instructions=True))
    )


@leaks((NAME, "backend acme/ray at far"))
def backend_that_is_far() -> Any:
    return read >> age.named("far").policy(backend="acme/ray")


@leaks((NAME, "step the billing service at bill"))
def step_that_says_that_it_sends() -> Any:
    @step(labels=Labels(egress="the billing service"))
    async def bill(patient: Patient) -> int:
        return len(patient.name)

    return read >> bill


@leaks(("'name' of step 'both[left]/read'", MODEL))
def methods_of_a_dict_of_branches() -> Any:
    @step
    async def listed(both: dict[str, Any]) -> list[str]:
        return [str(one) for one in both.values()]

    return Parallel("both", left=read, right=plain) >> listed >> ask(input=list[str], prompt="{{ input }}")


@leaks(("'~key' of step 'index'", MODEL))
def keys_of_a_mapping() -> Any:
    @step
    async def index(key: str) -> dict[Phi, int]:
        return {"Ada": 1}

    @step
    async def names(found: dict[str, int]) -> list[str]:
        return [*found.keys()]

    return index >> names >> ask(input=list[str], prompt="{{ input }}")


@leaks(("'name' of step 'pack'", MODEL))
def attribute_that_no_field_declares() -> Any:
    @step
    async def pack(key: str) -> Sealed:
        return Sealed("Ada")

    @step
    async def show(parcel: Sealed) -> str:
        return parcel.shown

    return pack >> show >> ask()


@leaks((NAME, MODEL))
def model_that_a_run_may_give_to_an_agent_inside() -> Any:
    may = Reconfigurable(models=["openai:gpt-5"])
    return read >> summarise >> ask(labels=Labels(egress=False), allow_reconfigure=may)


@leaks((NAME, "step search at search"))
def egress_of_a_tool_that_has_other_labels_too() -> Any:
    @tool(egress=True)
    async def search(text: str) -> str:
        "Searches."
        return text

    return read >> summarise >> search.as_step().policy(labels=Labels(clears=["phi"]))


@leaks(("'patients.*.name' of step 'read_ward'", "model openai:gpt-5 at each[*]/ask"))
def key_of_a_map_in_a_tool() -> Any:
    @tool
    async def where(info: RunInfo) -> str:
        "Says where this is."
        return info.address

    body = ask(agent=outside(tools=[where.as_tool()]), input=Patient, prompt="{{ input.age }}")
    return read_ward >> Map("each", body, over=lambda ward: ward.patients, key=lambda one: one.name)


@leaks((NAME, "agent acme/underwriter at ask"))
def agent_that_is_not_looked_up_yet() -> Any:
    return read >> summarise >> Step.agent("ask", "acme/underwriter", input=str, prompt="{{ input }}")


@leaks((NAME, MODEL))
def step_that_is_not_looked_up_yet() -> Any:
    return read >> Step.registered("acme/tell", takes=Patient, gives=str) >> ask()


@leaks((NAME, "model openai:gpt-5 at ask"))
def model_that_a_run_has_given() -> Any:
    step = ask(agent=inside())
    changed = replace(step.action, changed=Reconfigured(model="openai:gpt-5"))  # type: ignore[type-var]
    return read >> summarise >> step._changed(action=changed)


@leaks((NAME, "model openai:gpt-5 at ask"))
def instructions_that_a_run_has_given() -> Any:
    step = ask(input=Patient, prompt="{{ input.name }}")
    changed = replace(step.action, changed=Reconfigured(instructions=("Be brief.",)))  # type: ignore[type-var]
    return read >> step._changed(action=changed)


@leaks((NAME, "agent the clinic at ask"))
def agent_that_is_said_to_be_outside() -> Any:
    return read >> summarise >> ask(agent=inside(), labels=Labels(egress="the clinic"))


@leaks(("step 'again[*]/later/look'", "model openai:gpt-5 at again[*]/ask"))
def child_of_an_iteration_before() -> Any:
    @step
    async def look(text: str) -> Phi:
        return text

    @step
    async def write(*, before: Annotated[str, From("later/look")] = "") -> str:
        return before

    later = (look >> passed).named("later").policy(labels=Labels(clears=["phi"]))
    return Loop("again", write >> ask() >> later, until=bool, max_iterations=2)


@leaks((NAME, MODEL))
def clearance_of_another_label() -> Any:
    @step(labels=Labels(clears=["secret"]))
    async def unmarked(patient: Patient) -> str:
        return patient.name

    return read >> unmarked >> ask()


# --------------------------------------------------------------------------------------------------------------- clean


@clean()
def no_labels() -> Any:
    return plain >> ask()


@clean()
def labelled_data_that_stays() -> Any:
    return read >> summarise >> passed


@clean()
def agent_on_a_test_model() -> Any:
    return read >> ask(agent=inside(), input=Patient, prompt="{{ input.name }}")


@clean()
def agent_on_a_function_model() -> Any:
    async def reply(messages: Any, info: Any) -> Any: ...

    return read >> summarise >> ask(agent=Agent(FunctionModel(reply)))


@clean()
def agent_on_wrapped_test_models() -> Any:
    model = FallbackModel(WrapperModel(TestModel()), TestModel())
    return read >> summarise >> ask(agent=Agent(model))


@clean()
def agent_on_a_model_that_is_said_to_be_inside() -> Any:
    return read >> summarise >> ask(labels=Labels(egress=False))


@clean()
def unlabelled_field_in_a_template() -> Any:
    return read >> ask(input=Patient, prompt="{{ input.age }} in {{ input.ward }}")


@clean()
def unlabelled_field_behind_a_step_that_keeps_the_type() -> Any:
    return read >> same >> ask(input=Patient, prompt="{{ input.age }}")


@clean()
def unlabelled_field_of_a_dataclass() -> Any:
    @step
    async def pack(patient: Patient) -> Parcel:
        return Parcel(patient, 1)

    return read >> pack >> ask(input=Parcel, prompt="{{ input.number }} {{ input.inside.age }}")


@clean()
def step_that_reads_an_unlabelled_field() -> Any:
    return read >> age >> ask(input=int, prompt="{{ input }}")


@clean()
def report_whose_text_is_said_to_be_clear() -> Any:
    @step
    async def report(patient: Patient) -> Report:
        return Report(about=patient.name, text="one")

    return read >> report >> ask(input=Report, prompt="{{ input.text }}")


@clean()
def step_that_clears() -> Any:
    return read >> mask >> ask(input=Patient, prompt="{{ input.name }}")


@clean()
def step_that_clears_behind_text() -> Any:
    return read >> summarise >> mask_text >> passed >> ask()


@clean()
def pipeline_that_clears() -> Any:
    return read >> (summarise >> passed).named("clean").policy(labels=Labels(clears=["phi"])) >> ask()


@clean()
def map_that_clears() -> Any:
    each = Map("each", summarise, over=lambda ward: ward.patients).policy(labels=Labels(clears=["phi"]))
    return read_ward >> each >> ask(input=list[str], prompt="{{ input }}")


@clean()
def person_who_clears() -> Any:
    approve = HumanInput("approve", str, ask="{{ input.name }}?", labels=Labels(clears=["phi"]))
    return read >> approve >> ask()


@clean()
def question_that_shows_no_label() -> Any:
    return read >> HumanInput("approve", bool, ask="{{ input.age }}?") >> ask(input=bool, prompt="{{ input }}")


@clean()
def agent_that_clears() -> Any:
    masker = Step.agent("mask", inside(), input=Patient, prompt="{{ input.name }}", labels=Labels(clears=["phi"]))
    return read >> masker >> ask()


@clean()
def named_input_of_an_unlabelled_field() -> Any:
    @step
    async def write(text: str, *, years: Annotated[int, From("read", path="age")]) -> str:
        return f"{years}"

    return read >> summarise >> mask_text >> write >> ask()


@clean()
def placeholder_of_an_unlabelled_field() -> Any:
    return read >> summarise >> ask(input=Any, prompt="{{ read.age }}")


@clean()
def step_that_ignores_its_input() -> Any:
    return read >> age_of_nobody >> ask(input=int, prompt="{{ input }}")


@clean()
def other_branch_of_a_dict() -> Any:
    both = Parallel("both", left=read, right=plain)
    return both >> ask(input=dict[str, Any], prompt="{{ input.right }} {{ input.left.age }}")


@clean()
def other_field_of_into() -> Any:
    return Parallel("both", left=read, right=plain, into=Pair) >> ask(input=Pair, prompt="{{ input.right }}")


@clean()
def branch_of_into_that_clears() -> Any:
    both = Parallel("both", left=read >> mask, right=plain, into=Pair)
    return both >> ask(input=Pair, prompt="{{ input.left.name }}")


@clean()
def items_of_a_map_without_their_labels() -> Any:
    body = ask(input=Patient, prompt="{{ input.age }}")
    return read_ward >> Map("each", body, over=lambda ward: ward.patients)


@clean()
def map_of_the_input() -> Any:
    @step
    async def patients(ward: Ward) -> list[Patient]:
        return ward.patients

    return read_ward >> patients >> Map("each", ask(input=Patient, prompt="{{ input.age }}"))


@clean()
def key_that_nothing_sees() -> Any:
    body = ask(input=Patient, prompt="{{ input.age }}")
    return read_ward >> Map("each", body, over=lambda ward: ward.patients, key=lambda one: one.name)


@clean()
def key_without_a_label() -> Any:
    post = Step.agent("post", HTTPAgent("https://agents.example/ask"))
    body = summarise >> mask_text >> post
    return read_ward >> Map("each", body, over=lambda ward: ward.patients, key=lambda one: one.ward)


@clean()
def loop_that_feeds_back_what_is_clear() -> Any:
    return Loop("again", ask() >> passed, until=bool, max_iterations=2)


@clean()
def loop_that_clears_what_it_feeds_back() -> Any:
    @step
    async def look(text: str) -> Phi:
        return text

    return Loop("again", ask() >> look >> mask_text, until=bool, max_iterations=2)


@clean()
def branch_that_decides_on_labelled_data() -> Any:
    def is_long(patient: Patient) -> bool:
        return len(patient.name) > 3

    say = ask(input=Patient, prompt="{{ input.age }}")
    return read >> Branch("route", on=is_long).case(True, say).case(False, say.named("other"))


@clean()
def fallback_that_clears_too() -> Any:
    other = same.named("other").policy(labels=Labels(clears=["phi"]))
    return read >> mask.policy(fallback=other) >> ask(input=Patient, prompt="{{ input.name }}")


@clean(context=Chart)
def context_of_which_unlabelled_fields_are_read() -> Any:
    @step
    async def count(text: str, context: Chart) -> str:
        context.visits += 1
        return f"visit {context.visits}"

    return count >> ask()


@clean(context=Chart)
def labelled_field_of_the_context_that_is_only_set() -> Any:
    @step
    async def note(patient: Patient, context: Chart) -> int:
        context.patient = patient.name
        return patient.age

    @step
    async def write(years: int, context: Chart) -> str:
        return f"{years} {context.visits}"

    return note >> age_of_nobody >> write >> ask()


@clean(context=Chart)
def prompt_function_that_reads_unlabelled_fields() -> Any:
    def prompt(patient: Patient, context: Chart) -> str:
        return f"{patient.age} {context.visits}"

    return read >> ask(prompt=prompt)


@clean(context=Plain)
def context_that_a_step_writes_cleared() -> Any:
    @step(labels=Labels(clears=["phi"]))
    async def note(patient: Patient, context: Plain) -> int:
        context.note = f"{patient}"
        return 1

    @step
    async def write(number: int, context: Plain) -> str:
        return context.note

    return read >> note >> write >> ask()


@clean(context=Plain)
def context_that_is_read_before_it_is_written() -> Any:
    @step
    async def early(key: str, context: Plain) -> str:
        return context.note

    @step
    async def note(patient: Patient, context: Plain) -> int:
        context.note = patient.name
        return 1

    return early >> ask() >> read >> note


@clean(context=Chart)
def validator_that_reads_unlabelled_fields() -> Any:
    def fits(text: str, context: Chart) -> str | None:
        return None if context.visits else "No."

    return plain >> ask(validators=[fits])


@clean()
def tool_with_egress_of_an_agent_that_is_told_nothing() -> Any:
    @tool(egress=True)
    async def search(text: str) -> str:
        "Searches."
        return text

    return plain >> Step.agent("look", inside(tools=[search.as_tool()]))


@clean()
def tool_that_gives_labelled_text_to_an_agent_inside() -> Any:
    @tool
    async def look_up(key: str) -> Phi:
        "Looks up a patient."
        return "Ada"

    return plain >> ask(agent=inside(tools=[look_up.as_tool()]))


@clean()
def pipeline_that_is_a_tool_and_is_clean() -> Any:
    inner = Flujo(plain >> ask("inner")).as_tool(name="inner", description="Asks.")
    return plain >> ask(agent=outside(tools=[inner]))


@clean()
def agent_behind_http_inside() -> Any:
    return read >> Step.agent("post", HTTPAgent("http://localhost/ask", takes=Patient, egress=False))


@clean()
def agent_of_another_library_inside() -> Any:
    return read >> summarise >> Step.agent("post", Near())


@clean()
def pool_of_processes() -> Any:
    return read >> age.policy(backend="process")


@clean()
def built_agent_that_is_said_to_be_inside() -> Any:
    def build(patient: Patient) -> Agent[None, str]:
        return Agent(TestModel(), instructions=f"{patient}")

    agent = ContextualAgentFactory(build)
    return read >> ask(agent=agent, prompt="{{ input.age }}", labels=Labels(egress=False))


@clean()
def agent_of_another_library_that_is_said_to_be_inside() -> Any:
    return read >> summarise >> Step.agent("post", Unknown(), labels=Labels(egress=False))


@clean()
def tool_whose_types_cannot_be_read() -> Any:
    async def look_up(key: str) -> str:
        "Looks up."
        return key

    made = Tool(look_up)
    look_up.__annotations__["return"] = "Missing"
    return plain >> ask(agent=outside(tools=[made]))


@clean()
def stream_that_clears() -> Any:
    @step(labels=Labels(clears=["phi"]))
    async def words(patient: Patient) -> AsyncIterator[str]:
        for word in str(patient).split():
            yield word

    return read >> words >> ask()
