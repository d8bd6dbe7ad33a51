"""A process that is killed inside an agent step: another one goes on with the same tokens, and calls nothing twice."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from flujo_core import Flujo, Step
from flujo_deidentifier import Deidentifier, DeidentifierPlugin, Profile, SqliteVaultStore
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

here = Path(sys.argv[1])

def note(line):
    with open(here / "calls.txt", "a") as file:
        file.write(line + "\\n")

def answer(messages, info):
    last = messages[-1].parts[-1]
    if not isinstance(last, ToolReturnPart):
        note("model 1")
        return ModelResponse([ToolCallPart("mail", {"to": last.content.split()[-1]}, "c1")])
    note("model 2 " + last.content)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), 9)
    return ModelResponse([TextPart("Sent: " + last.content)])

agent = Agent(FunctionModel(answer))

@agent.tool_plain
def mail(to: str) -> str:
    note("mail")
    return to + " has SSN 536-22-8726"

async def main():
    vault = SqliteVaultStore(here / "vault.db")
    made = Deidentifier(Profile("all"), key=b"k" * 32, vault=vault, detectors=["patterns", "lists"])
    store = f"sqlite:///{here}/runs.db"
    plugin = DeidentifierPlugin(made, tools=["mail"], journal=sys.argv[3])
    async with Flujo(Step.agent("ask", agent), store=store, plugins=[plugin]) as flujo:
        if sys.argv[2] == "dies":
            await flujo.run_async("Write to ann@example.org", run_id="one")
        else:
            print((await flujo.resume_async("one")).output)

asyncio.run(main())
"""


def started(folder: Path, how: str, journal: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), how, journal],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "FLUJO_DISABLE": "flujo-deidentifier"},
    )  # fmt: skip


def check_killed(folder: Path, journal: str) -> None:
    assert started(folder, "dies", journal).returncode == -9
    assert b"536-22-8726" not in b"".join(path.read_bytes() for path in folder.iterdir())
    after = started(folder, "lives", journal)
    assert after.stdout == "Sent: ann@example.org has SSN 536-22-8726\n", after.stderr
    calls = (folder / "calls.txt").read_text().splitlines()
    assert [one[:7].strip() for one in calls] == ["model 1", "mail", "model 2", "model 2"]
    assert calls[2] == calls[3]
    assert "536-22" not in calls[2]


def test_with_tokens_in_the_journal(tmp_path: Path) -> None:
    check_killed(tmp_path, "tokens")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"536-22-8726" not in kept
    assert b"ann@example.org" not in kept


def test_with_values_in_the_journal_what_tools_and_models_said_is_tokens(tmp_path: Path) -> None:
    check_killed(tmp_path, "values")
