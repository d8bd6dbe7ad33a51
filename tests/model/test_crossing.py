"""What can run on a backend, and what is refused when the pipeline is checked."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from functools import partial
from types import ModuleType
from typing import Any

import backend_kit as kit
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from flujo_core import DefinitionError, Flujo, Pipeline, PipelineContext, Resources, SignatureError, Step, step
from flujo_core.model.crossing import action_at, at_place, field_types, place_of


class Clients(Resources):
    pass


def refused(node: Any, *told: str) -> None:
    with pytest.raises(DefinitionError, match=".*".join(map(re.escape, told))):
        node.check()


def test_a_function_of_a_module_crosses_as_a_step_or_by_itself() -> None:
    kit.double.check()
    assert place_of(kit.double.action.function) == "backend_kit:double"
    assert action_at("backend_kit:double", "double") is kit.double.action
    assert action_at("backend_kit:_quadrupled", "four").function is kit._quadrupled
    step(name="four", backend="process")(kit._quadrupled).check()


def test_a_lambda_is_refused() -> None:
    refused(step(name="quick", backend="process")(lambda text: text), "step 'quick'", "'process'", "it is a lambda")


def test_a_function_made_inside_another_is_refused() -> None:
    @step(backend="process")
    def inner(text: str) -> str:
        return text

    refused(kit.say >> inner, "step 'inner' runs on backend 'process'", "'inner' is made inside a function")


def test_a_callable_that_is_no_function_is_refused() -> None:
    refused(step(name="part", backend="process")(partial(kit.double.action.function)), "'part'", "is 'partial'")


def test_what_its_module_has_under_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (kit.say, None):
        monkeypatch.setattr(kit, "double", other, raising=False)
        refused(step(backend="process")(ORIGINAL), "'backend_kit' has another 'double' or none")
    monkeypatch.delattr(kit, "double")
    refused(step(backend="process")(ORIGINAL), "'backend_kit' has another 'double' or none")


ORIGINAL = kit.double.action.function


def test_a_function_of_a_module_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ORIGINAL, "__module__", "no_such_module")
    refused(step(backend="process")(ORIGINAL), "'no_such_module' has another 'double' or none")


def test_a_function_of_a_program_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ModuleType("__main__")
    typed.double = ORIGINAL  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", typed)
    monkeypatch.setattr(ORIGINAL, "__module__", "__main__")
    refused(step(backend="process")(ORIGINAL), "'double' is in a program without a file; put it into a module")
    typed.__file__ = "program.py"
    step(backend="process")(ORIGINAL).check()


def test_an_agent_is_refused() -> None:
    agent = Step.agent("poet", Agent(TestModel()), backend="process")
    refused(agent, "step 'poet' runs on backend 'process', which calls functions")


def test_a_step_that_takes_resources_is_refused() -> None:
    @step(backend="process")
    def fetch(text: str, clients: Clients) -> str:
        return text

    refused(fetch, "step 'fetch'", "takes resources, which only this process has")


def test_a_step_that_streams_is_refused() -> None:
    @step(backend="process")
    async def tell(text: str) -> AsyncIterator[str]:
        yield text

    @step
    async def spell(text: str) -> AsyncIterator[str]:
        yield text

    @step(backend="process")
    async def hear(pieces: AsyncIterator[str]) -> int:
        return len([piece async for piece in pieces])

    refused(tell, "step 'tell' runs on backend 'process', and streams, which only steps that run here can")
    refused(spell >> hear, "step 'hear' runs on backend 'process', and streams")


def test_a_registered_step_is_looked_at_when_it_is_known() -> None:
    Step.registered("acme/mask", takes=str, gives=str).policy(backend="process").check()


def test_a_context_that_is_made_inside_a_function_is_refused() -> None:
    class Inside(kit.Notes):
        pass

    with pytest.raises(DefinitionError, match=r"step 'note' takes the context on backend 'process'.*'Inside'"):
        Flujo(kit.note, context=Inside)
    Flujo(kit.note, context=kit.Notes)
    Flujo(kit.double, context=Inside)


def test_a_local_step_may_be_anything() -> None:
    local: Pipeline[Any, Any] = step(name="a", backend="local")(lambda text: text) >> kit.say
    local.check()


def test_what_is_at_a_place_is_imported() -> None:
    assert at_place("backend_kit:Notes") is kit.Notes
    with pytest.raises(ImportError):
        at_place("no_such_module:x")
    with pytest.raises(AttributeError):
        at_place("backend_kit:nothing_of_it")


def test_what_is_no_function_is_no_step() -> None:
    with pytest.raises(SignatureError, match=r"step 'kit' is to be 'backend_kit:__doc__', which is 'str'"):
        action_at("backend_kit:__doc__", "kit")


def test_fields_have_their_types() -> None:
    class Two(PipelineContext):
        one: int = 1
        two: list[str] = []

    assert field_types(Two) == {"one": int, "two": list[str]}
