"""Pipelines from text: what may be imported, and where in the text something is wrong. The models are simulated."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic_ai.models.test import TestModel
from spec_kit import made

from flujo_core import (
    DefinitionError,
    Flujo,
    HumanInput,
    MemoryStore,
    Plugin,
    Registry,
    SpecError,
    Step,
    pipeline_from_spec,
    pipeline_spec_schema,
    pipeline_to_spec,
    step,
)
from flujo_core.agents.pipelines import Imports

REPLY = """
format: flujo/1
steps:
- use: acme/mask
- agent: sort
  of:
    role: classifier
    labels: [bill, bug]
- branch: route
  on: spec_kit:says
  cases:
    bill: [call: spec_kit:made]
  default:
    call: spec_kit:plain
"""


@step
async def mask(text: str) -> str:
    return text.replace("Ada", "...")


class Acme(Plugin):
    name = "acme"

    def register_steps(self, registry: Registry[Step[Any, Any]]) -> None:
        registry.add("mask", mask)


def test_a_pipeline_from_text_runs() -> None:
    pipeline: Any = pipeline_from_spec(REPLY, imports=["spec_kit"])
    (agent,) = [part.action.agent for part in pipeline.nodes if part.label == "sort"]
    with agent.override(model=TestModel(custom_output_args="bug")):
        assert Flujo(pipeline, plugins=[Acme()]).run("Ada has a bug").output == "bug"


def test_a_run_goes_on_with_the_pipeline_that_was_read_back() -> None:
    async def both() -> str:
        ask: Any = HumanInput("approve", bool, ask="Send {{ input }}?")
        authored: Any = Step.registered("acme/mask", takes=str, gives=str) >> ask >> made
        store = MemoryStore()
        async with Flujo(authored, store=store, plugins=[Acme()]) as flujo:
            paused = await flujo.run_async("Ada", run_id="one")
        again: Any = pipeline_from_spec(pipeline_to_spec(authored), imports=["spec_kit"])
        async with Flujo(again, store=store, plugins=[Acme()]) as flujo:
            result = await flujo.resume_async("one", True, token=paused.questions[0].token)
        return f"{paused.questions[0].text} {result.output}"

    assert asyncio.run(both()) == "Send ...? True"


def test_text_data_and_files_say_the_same(tmp_path: Path) -> None:
    data = pipeline_to_spec(pipeline_from_spec(REPLY, imports=["spec_kit"]))
    (tmp_path / "a.yaml").write_text(REPLY)
    (tmp_path / "a.json").write_text(json.dumps(data))
    for source in (data, json.dumps(data), yaml.safe_dump(data), tmp_path / "a.yaml", tmp_path / "a.json"):
        assert pipeline_to_spec(pipeline_from_spec(source, imports=["spec_kit"])) == data


def test_without_imports_only_registered_names_may_stand() -> None:
    assert pipeline_from_spec({"format": "flujo/1", "use": "acme/mask"}).label == "mask"
    with pytest.raises(
        SpecError, match=r"line 12, at 'steps\[2\]\.cases\.bill\[0\]\.call': 'spec_kit:made' is an"
    ) as wrong:
        pipeline_from_spec(REPLY.replace("on: spec_kit:says", "on: {field: kind}"))
    assert "import path, and none are allowed here" in str(wrong.value) and "import_prefixes" in str(wrong.value)
    assert wrong.value.place == ("steps", 2, "cases", "bill", 0, "call")


def test_what_is_wrong_is_said_with_the_file_the_line_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("format: flujo/1\nsteps:\n- use: acme/mask\n- use: acme/b\n  retrys: {}\n")
    with pytest.raises(SpecError) as wrong:
        pipeline_from_spec(file)
    assert str(wrong.value) == (
        f"the pipeline spec '{file}', line 5, at 'steps[1].retrys': 'retrys' means nothing here; did you mean 'retry'?"
    )
    with pytest.raises(SpecError, match=r"^the pipeline spec, at 'steps\[0\]': nothing says"):
        pipeline_from_spec('{"format": "flujo/1", "steps": [{}]}')


def test_an_agent_that_cannot_be_is_told_with_its_place() -> None:
    with pytest.raises(SpecError, match=r"at 'of': the agent spec is of role 'chef'"):
        pipeline_from_spec({"format": "flujo/1", "agent": "a", "of": {"role": "chef"}})


def test_a_spec_of_a_stranger_may_be_kept_from_describing_agents() -> None:
    spec = {"format": "flujo/1", "agent": "a", "of": {"role": "reviewer"}}
    with pytest.raises(SpecError, match="at 'of': an agent is described here, and only registered ones are allowed"):
        pipeline_from_spec(spec, describes_agents=False)
    assert pipeline_from_spec({**spec, "of": "acme/writer"}, describes_agents=False).label == "a"


def test_a_spec_may_be_deep() -> None:
    spec: dict[str, Any] = {"use": "acme/mask"}
    for _ in range(90):
        spec = {"map": "m", "body": spec}
    assert pipeline_to_spec(pipeline_from_spec({"format": "flujo/1", **spec}))["body"] == spec["body"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with all kinds of things in it."""
    home = tmp_path / "specshop"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "steps.py").write_text(
        dedent(
            """
            import os
            from os import system
            from functools import partial
            from enum import Enum
            from flujo_core import step
            from pydantic import BaseModel

            class Size(Enum):
                BIG = 1

            class Mail(BaseModel):
                text: str

            @step
            async def read(text: str) -> Mail:
                return Mail(text=text)

            borrowed = step(os.path.basename)
            cut = partial(str.split, sep=",")
            seen = []
            """
        )
    )
    (home / "broken.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "specshop_evil.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "specshop"


@pytest.mark.parametrize("prefix", ["specshop", "specshop.", "specshop.steps"])
def test_what_is_in_an_allowed_package_may_be_named(package: str, prefix: str) -> None:
    names = Imports(["other", prefix])
    assert names.find("specshop.steps:Mail").__name__ == "Mail"
    assert names.find("specshop.steps:Size.BIG").value == 1
    assert names.find("specshop.steps:read").name == "read"
    assert names.find("specshop.steps:cut")("a,b") == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("specshop_evil:value", "'specshop_evil:value' is of module 'specshop_evil', which is not allowed here"),
        ("os:system", "is of module 'os', which is not allowed here; what is, is in 'specshop'"),
        ("specshop.steps:os.system", "'specshop.steps:os.system' names a module"),
        ("specshop.steps:os", "names a module"),
        ("specshop.steps:system", "is of module '(posix|nt)', which is not allowed"),
        ("specshop.steps:BaseModel", "is of module 'pydantic.main', which is not allowed"),
        ("specshop.steps:borrowed", "is of module 'posixpath|ntpath', which is not allowed"),
        ("specshop.steps:Mail.__subclasses__", "module 'specshop.steps' has no 'Mail.__subclasses__'"),
        ("specshop.steps:seen.clear", "is of module 'builtins', which is not allowed"),
        ("specshop.steps:none", "module 'specshop.steps' has no 'none'"),
        ("specshop.none:x", "'specshop.none:x' cannot be imported: it raised ModuleNotFoundError"),
        ("specshop.broken:x", "cannot be imported: it raised SystemExit"),
        ("specshop.steps", "'specshop.steps' is no import path; write 'module:name'"),
    ],
)
def test_nothing_else_may_be_named(package: str, path: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        Imports(["specshop"]).find(path)


def test_what_may_not_be_named_is_not_imported(package: str) -> None:
    with pytest.raises(SpecError):
        pipeline_from_spec({"format": "flujo/1", "call": "specshop_evil:value"}, imports=["specshop"])
    with pytest.raises(LookupError):
        Imports(["", "."]).find("specshop_evil:value")
    assert "specshop_evil" not in sys.modules


def test_a_text_that_is_no_spec_is_refused() -> None:
    with pytest.raises(DefinitionError, match="such as 'format: flujo/1'; it is a str"):
        pipeline_from_spec("triage")


def test_the_schema_knows_the_agents_too() -> None:
    schema = pipeline_spec_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert validator.is_valid(yaml.safe_load(REPLY.replace(" on:", " 'on':")))
    for of, fine in (({"prompt": "x"}, True), ({"role": "chef"}, False), ({"role": "judge"}, False), ("a/b", True)):
        assert validator.is_valid({"format": "flujo/1", "agent": "a", "of": of}) is fine, of
