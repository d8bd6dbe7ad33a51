"""What tests of the plugin in a pipeline share: simulated models, and a de-identifier whose vault is a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from flujo_deidentifier import Deidentifier, Profile, SqliteVaultStore
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import PluginSettings, Settings

KEY = b"k" * 32
ALONE = Settings(PluginSettings(allow=()))
"""No installed plugins: those of a test are the ones that it gives."""


class Model:
    """Stands for a model: it keeps what it was asked, calls tools if it is told to, and says again what it was told."""

    def __init__(self, *calls: ToolCallPart, says: Callable[[str], str] = lambda text: f"It says: {text}") -> None:
        self.asked: list[str] = []
        self.prompts: list[str] = []
        self._calls = calls
        self._says = says

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked.append(repr(messages) + repr(info))
        last = messages[-1].parts[-1]
        if self._calls and not isinstance(last, ToolReturnPart | RetryPromptPart):
            return ModelResponse([*self._calls])
        self.prompts.append(str(last.content))  # type: ignore[union-attr]
        return ModelResponse([TextPart(self._says(str(last.content)))])  # type: ignore[union-attr]

    def saw(self, *values: str) -> list[str]:
        """The values that stood in anything that it was asked."""
        return [one for one in values if any(one in text for text in self.asked)]

    def agent(self, **options: Any) -> Agent[None, str]:
        return Agent(FunctionModel(self), **options)


def engine(path: Path, **options: Any) -> Deidentifier:
    options = {"key": KEY, "detectors": ["patterns", "lists"], "vault": SqliteVaultStore(path / "vault.db")} | options
    return Deidentifier(options.pop("profile", Profile("all")), **options)


def done(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 60))


def kept_in(path: Path) -> bytes:
    """All bytes of all files of a folder."""
    return b"".join(one.read_bytes() for one in path.iterdir() if one.is_file())
