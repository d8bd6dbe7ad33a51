"""The de-identifier of a deployment: what the configuration says, and what it cannot say. The model is simulated."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from flujo_deidentifier.configured import table_of
from flujo_deidentifier.plugin import DeidentifierPlugin
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import ConfigurationError, Flujo, PluginError, PluginLoadError, PluginSettings, Settings, Step

EMAIL = "jane.roe@example.org"


def flujo(table: dict[str, Any], seen: list[str]) -> Flujo[str, str, Any]:
    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        text = str(messages[-1].parts[-1].content)
        seen.append(text)
        return ModelResponse(parts=[TextPart("I wrote to " + text.split()[-1])])

    settings = Settings(PluginSettings(allow=(), tables={"deidentifier": table}))
    return Flujo(
        Step.agent("a", Agent(FunctionModel(answer)), input=str), plugins=[DeidentifierPlugin()], settings=settings
    )


def test_a_configured_plugin_masks_what_goes_to_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUJO_DEIDENTIFIER_KEY", base64.b64encode(bytes(range(32))).decode())
    seen: list[str] = []
    made = flujo({"vault": str(tmp_path / "vault.db"), "detectors": ["patterns"]}, seen)
    assert made.run(f"write to {EMAIL}").output == f"I wrote to {EMAIL}"
    assert EMAIL not in seen[0]
    assert (tmp_path / "vault.db").exists()


def test_without_a_key_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUJO_DEIDENTIFIER_KEY", raising=False)
    seen: list[str] = []
    with pytest.raises(PluginError, match="on_startup"):
        flujo({"vault": str(tmp_path / "vault.db"), "detectors": ["patterns"]}, seen).run("x")
    assert not seen


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "'vault' of the de-identifier is not right: field required"),
        ({"vault": "v.db", "profil": "gdpr"}, "'profil' of the de-identifier is not right: extra inputs"),
        ({"vault": "v.db", "timeout": 0}, "'timeout' of the de-identifier is not right"),
    ],
)
def test_what_the_configuration_cannot_say_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        table_of(table)
    with pytest.raises(PluginLoadError, match=message):
        flujo(table, [])
