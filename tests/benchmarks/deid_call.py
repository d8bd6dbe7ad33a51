"""What the de-identifier adds to one call of an agent with 2 KB of text: ``python tests/benchmarks/deid_call.py``.

Each run asks a simulated model with another text, with the plugin and without, in turn; the medians are compared.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

from flujo_deidentifier import Deidentifier, DeidentifierPlugin
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import Flujo, Step

RUNS = 60
NOTE = (
    "Patient {name} (MRN 48372{number:02d}) was seen on 03/04/2021 for chest pain that began two days earlier. No"
    " fever, no cough; blood pressure 128/82, heart rate 76. Troponin was normal twice, and the electrocardiogram"
    " showed no change. The plan is rest, aspirin 81 mg daily, and a visit in two weeks; call 212-555-01{number:02d}"
    " before then if the pain comes back. Risks and benefits were discussed, and all questions were answered. "
)


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands for a model."""
    return ModelResponse([TextPart("It is well.")])


def text_of(number: int) -> str:
    """A text of 2 KB that no earlier run has had."""
    return (NOTE.format(name="John Smith", number=number) * 6)[:2048]


async def main() -> None:
    """Prints both medians and what the plugin adds, in milliseconds."""
    ask = Step.agent("ask", Agent(FunctionModel(answer)))
    plugin = DeidentifierPlugin(Deidentifier(key=b"k" * 32, detectors=["patterns", "lists"]))
    times: dict[str, list[float]] = {"plain": [], "masked": []}
    async with Flujo(ask) as plain, Flujo(ask, plugins=[plugin]) as masked:
        for number in range(RUNS):
            for name, flujo in (("plain", plain), ("masked", masked)):
                begun = time.perf_counter()
                await flujo.run_async(text_of(number))
                times[name].append((time.perf_counter() - begun) * 1000)
    before, after = median(times["plain"]), median(times["masked"])
    print(f"without {before:.1f} ms, with {after:.1f} ms: {after - before:.1f} ms added per call on 2 KB")


if __name__ == "__main__":
    asyncio.run(main())
