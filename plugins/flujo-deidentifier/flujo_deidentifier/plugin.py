"""The plugin: agents see tokens, and what they give has values again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from flujo_core import AgentInfo, AppInfo, Chunk, ConfigurationError, Plugin, Registry, StepCall, StepResult

if TYPE_CHECKING:
    from flujo_deidentifier.deidentifier import Deidentifier
    from flujo_deidentifier.stream import TokenStream
    from flujo_deidentifier.vault import Scope

CLEARED = ("phi", "pii")
"""The labels that nothing carries any more that was de-identified."""


class DeidentifierPlugin(Plugin):
    """De-identifies what goes to the model of each agent step, and what the store keeps; steps are given values.

    Without a de-identifier, and without ``[plugins.flujo-deidentifier]`` in the configuration, it registers the command
    ``flujo deid``, and does nothing to runs.

    Args:
        deidentifier: Finds, and has the vault.
        tools: Names of tools that are given values; others see tokens. What a tool gives is de-identified again.
        session: Gives the session of a run's tokens from its id; by default it is the id. Runs that go on with each
            other's messages want one session.
        subject: Gives whom a run is about from its id, for ``Deidentifier.erase``; by default it is the id.
        journal: What stands for values in what the store keeps: ``"tokens"``, or the ``"values"`` themselves. With
            tokens, a run that another process goes on with needs a vault that outlives this one.
    """

    name: ClassVar[str] = "deidentifier"
    dormant: ClassVar[bool] = True

    def __init__(
        self,
        deidentifier: Deidentifier | None = None,
        *,
        tools: Collection[str] = (),
        session: Callable[[str], str] = str,
        subject: Callable[[str], str] = str,
        journal: Literal["tokens", "values"] = "tokens",
    ) -> None:
        if journal not in ("tokens", "values"):
            raise ConfigurationError("'journal' of the de-identifier is 'tokens' or 'values'")
        self._deidentifier: Deidentifier | None = None
        self._tools = tools
        self._session = session
        self._subject = subject
        self._agents: set[str] = set()
        self._streams: dict[tuple[str, str, int], TokenStream] = {}
        if deidentifier is not None:
            self._act(deidentifier, journal == "tokens")

    def configure(self, table: Mapping[str, Any], /) -> None:
        """Makes the de-identifier that ``[plugins.flujo-deidentifier]`` describes."""
        from flujo_deidentifier.configured import deidentifier_of, table_of  # noqa: PLC0415 - few are configured

        told = table_of(table)
        self._tools = tuple(told.tools)
        self._act(deidentifier_of(told), told.journal == "tokens")

    def _act(self, deidentifier: Deidentifier, keeps_tokens: bool) -> None:
        from flujo_deidentifier.codec import DeidentifyingCodec  # noqa: PLC0415 - needs what the vault needs

        self._deidentifier = deidentifier
        self.clears = CLEARED
        self.codecs = (DeidentifyingCodec(deidentifier),) if keeps_tokens else ()

    async def on_startup(self, app: AppInfo, /) -> None:
        """Asks for the key: without one nothing begins."""
        if self._deidentifier is not None:
            await asyncio.to_thread(self._deidentifier.vault.key, "startup")

    def register_commands(self, registry: Registry[Any], /) -> None:
        """Add ``flujo deid``, which is ``flujo_deidentifier.command:app``."""
        registry.add("deid", "flujo_deidentifier.command:app")

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        """Masks the agent's messages, and stands before its model."""
        if self._deidentifier is None:
            return ()
        from flujo_deidentifier.guard import Gate, Masking  # noqa: PLC0415 - pydantic-ai is dear to import

        self._agents.add(agent.step_name)
        return Masking(self._deidentifier, self._scope, self._tools), Gate(self._deidentifier, self._scope)

    async def pre_step_execution(self, call: StepCall, /) -> StepCall | None:
        """Puts tokens in the places of what the input of an agent step is labelled with."""
        if (deidentifier := self._deidentifier) is None or call.step_name not in self._agents:
            return None
        from flujo_deidentifier.labelled import is_labelled, relabelled  # noqa: PLC0415 - nobody may need it

        if not is_labelled(call.step_input):
            return None
        scope = self._scope(call.run_id, call.tenant)

        def change(text: str, label: str) -> str:
            return deidentifier.deidentify(text, **scope._asdict(), label=label)

        changed = await asyncio.to_thread(relabelled, call.step_input, change)
        return call.replace(step_input=changed)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | None:
        """Puts values in the places of the tokens in the text that an agent gave."""
        if self._deidentifier is None or call.step_name not in self._agents or not isinstance(result.output, str):
            return None
        from flujo_deidentifier.token import tokens_in  # noqa: PLC0415 - nobody may need it

        if not self._deidentifier.has_surrogates and not any(tokens_in(result.output)):
            return None
        scope = self._scope(call.run_id, call.tenant)
        text = await self._deidentifier.restore_async(result.output, session=scope.session, tenant=scope.tenant)
        return result.replace(output=text)

    async def transform_chunk(self, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        """The same of a text in pieces; holds back what may be the beginning of a token."""
        if self._deidentifier is None or call.step_name not in self._agents or chunk.item is not None:
            return None
        place = chunk.run_id, chunk.address, chunk.attempt
        scope = self._scope(call.run_id, call.tenant)
        stream = self._streams.get(place)
        if stream is None:
            stream = self._streams[place] = self._deidentifier.restoring(session=scope.session, tenant=scope.tenant)
        text = await asyncio.to_thread(stream.feed, chunk.text)
        if chunk.last:
            del self._streams[place]
            text += await asyncio.to_thread(stream.flush)
        return chunk.replace(text=text)

    def _scope(self, run_id: str, tenant: str | None) -> Scope:
        from flujo_deidentifier.vault import Scope  # noqa: PLC0415 - is needed with a de-identifier only

        return Scope(self._session(run_id), tenant or "", self._subject(run_id))
