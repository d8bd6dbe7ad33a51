"""Runs that are put on record, and what is on record of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from flujo_audit_advanced import AuditPlugin, LocalSigner, Recording, Rule, stored_records
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import Flujo

SIGNER = LocalSigner(bytes(range(32)))
DIGEST_KEY = bytes(range(100, 132))
QUIET = Rule(["*"], "batch")


def recording(folder: Path, *rules: Rule, **options: Any) -> Recording:
    """What is put on record, in ``folder/log``."""
    return Recording(**({"path": folder / "log", "signer": SIGNER, "digest_key": DIGEST_KEY, "rules": rules} | options))


def recorded(folder: Path) -> list[dict[str, Any]]:
    """What is on record, without what the log says of itself."""
    records = [json.loads(data) for _, data in stored_records(folder / "log", 0)]
    return [one for one in records if not one["kind"].startswith("log.")]


def kinds(folder: Path) -> list[str]:
    """The kinds of what is on record, in order."""
    return [one["kind"] for one in recorded(folder)]


def bytes_of(folder: Path) -> bytes:
    """All bytes of the log's files."""
    return b"".join(path.read_bytes() for path in (folder / "log").rglob("*") if path.is_file())


def run(pipeline: Any, given: Any, what: Recording, **options: Any) -> Any:
    """The result of one run that is put on record."""
    told = {name: options.pop(name) for name in ("run_id", "tenant", "subject") if name in options}

    async def main() -> Any:
        async with Flujo(pipeline, plugins=[AuditPlugin(what)], **options) as flujo:
            return await flujo.run_async(given, **told)

    return asyncio.run(main())


class Asked:
    """A simulated model, which counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def agent(self) -> Agent[None, str]:
        """An agent that asks it."""
        return Agent(FunctionModel(self._answer))

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.count += 1
        return ModelResponse([TextPart("It says so.")])
