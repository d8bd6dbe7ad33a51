"""The plugin: agents see tokens, and what they give has values again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from flujo_core import (
    AgentInfo,
    AppInfo,
    Chunk,
    ConfigurationError,
    Plugin,
    Registry,
    RunStart,
    Step,
    StepCall,
    StepResult,
)

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
        session: In what the same value has the same token: a ``"run"``, whose id is the session then; all runs about
            one ``"subject"``, or the run where nobody said whom it is about; or what a function gives for the id of a
            run, as runs that go on with each other's messages want one session for their conversation.
        trusted: Names of steps whose agents are of other libraries, and are given values. Others of those libraries are
            given the step's input with tokens, and what they give is restored; nothing stands before their models.
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
        session: Literal["run", "subject"] | Callable[[str], str] = "run",
        trusted: Collection[str] = (),
        journal: Literal["tokens", "values"] = "tokens",
    ) -> None:
        if journal not in ("tokens", "values"):
            raise ConfigurationError("'journal' of the de-identifier is 'tokens' or 'values'")
        if session not in ("run", "subject") and not callable(session):
            raise ConfigurationError("'session' of the de-identifier is 'run', 'subject', or a function of a run's id")
        self._deidentifier: Deidentifier | None = None
        self._tools = tools
        self._session = session
        self._trusted = trusted
        self._streams: dict[tuple[str, str, int], TokenStream] = {}
        if deidentifier is not None:
            self._act(deidentifier, journal == "tokens")

    def configure(self, table: Mapping[str, Any], /) -> None:
        """Makes the de-identifier that ``[plugins.flujo-deidentifier]`` describes."""
        from flujo_deidentifier.configured import deidentifier_of, table_of  # noqa: PLC0415 - few are configured

        told = table_of(table)
        self._tools, self._session, self._trusted = told.tools, told.session, told.trusted
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

    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        """Adds ``deidentify`` and ``reidentify``, of the de-identifier that the plugin has when they run."""
        from flujo_deidentifier.steps import deidentifying, reidentifying  # noqa: PLC0415 - imports what steps need

        registry.add("deidentify", deidentifying(self._acting, "deidentify"))
        registry.add("reidentify", reidentifying(self._acting, "reidentify"))

    def _acting(self) -> Deidentifier:
        if self._deidentifier is None:
            raise ConfigurationError(
                "there is no de-identifier; write '[plugins.flujo-deidentifier]' in the configuration, or give Flujo a"
                " 'DeidentifierPlugin'"
            )
        return self._deidentifier

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        """Masks the agent's messages, and stands before its model."""
        if self._deidentifier is None:
            return ()
        from flujo_deidentifier.guard import Gate, Masking  # noqa: PLC0415 - pydantic-ai is dear to import

        return Masking(self._deidentifier, self._scope, self._tools), Gate(self._deidentifier, self._scope)

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        """Notes what the input is labelled with: later steps may take it from there."""
        if self._deidentifier is not None and not run.resumed:
            await self._note(self._scope(run.run_id, run.tenant, run.subject), run.initial_input)

    async def pre_step_execution(self, call: StepCall, /) -> StepCall | None:
        """Puts tokens in what an agent is given: where it is labelled, and in all of it where its model is not seen."""
        if self._deidentifier is None or not self._is_masked(call):
            return None
        from flujo_deidentifier.labelled import labelled_in, sensitive  # noqa: PLC0415 - nobody may need it

        scope = self._scope_of(call)
        labelled, context = labelled_in(call.step_input), call.context
        around = labelled_in(context) if sensitive(type(context)) else ()  # to look into it copies its fields
        await self._remember(scope, [*labelled, *around])
        if not labelled and call.agent == "pydantic-ai":
            return None
        from flujo_deidentifier.given import labels_masked, masked  # noqa: PLC0415 - few steps are masked so

        mask = labels_masked if call.agent == "pydantic-ai" else masked
        changed = await asyncio.to_thread(mask, self._deidentifier, scope, call.step_input)
        return None if changed is call.step_input else call.replace(step_input=changed)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | None:
        """Puts values in the places of the tokens in what an agent gave; notes what is labelled in other outputs."""
        if self._deidentifier is None:
            return None
        if isinstance(result.output, str) or (call.agent == "other" and self._is_masked(call)):
            return await self._restored(call, result)
        await self._note(self._scope_of(call), result.output)
        return None

    async def _restored(self, call: StepCall, result: StepResult) -> StepResult | None:
        if self._deidentifier is None or not self._is_masked(call):
            return None
        from flujo_deidentifier.given import unmasked  # noqa: PLC0415 - nobody may need it

        output = await asyncio.to_thread(unmasked, self._deidentifier, self._scope_of(call), result.output)
        return result.replace(output=output)

    def _is_masked(self, call: StepCall) -> bool:
        return call.agent == "pydantic-ai" or (call.agent == "other" and call.step_name not in self._trusted)

    async def transform_chunk(self, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        """The same of a text in pieces; holds back what may be the beginning of a token."""
        if self._deidentifier is None or not self._is_masked(call) or chunk.item is not None:
            return None
        place = chunk.run_id, chunk.address, chunk.attempt
        scope = self._scope_of(call)
        stream = self._streams.get(place)
        if stream is None:
            stream = self._streams[place] = self._deidentifier.restoring(session=scope.session, tenant=scope.tenant)
        text = await asyncio.to_thread(stream.feed, chunk.text)
        if chunk.last:
            del self._streams[place]
            text += await asyncio.to_thread(stream.flush)
        return chunk.replace(text=text)

    async def _note(self, scope: Scope, value: Any) -> None:
        """Lets the vault know of what is labelled in a value, which may come to a model from anywhere later."""
        from flujo_deidentifier.labelled import labelled_in  # noqa: PLC0415 - nobody may need it

        await self._remember(scope, labelled_in(value))

    async def _remember(self, scope: Scope, values: Sequence[tuple[Any, str]]) -> None:
        if not values or self._deidentifier is None:
            return
        from flujo_deidentifier.known import remember  # noqa: PLC0415 - nobody may need it

        await asyncio.to_thread(remember, self._deidentifier, scope, values)

    def _scope_of(self, call: StepCall) -> Scope:
        return self._scope(call.run_id, call.tenant, call.subject)

    def _scope(self, run_id: str, tenant: str | None, subject: str) -> Scope:
        from flujo_deidentifier.vault import scope_of, scope_of_run  # noqa: PLC0415 - is needed with a de-identifier only

        if callable(self._session):
            session = self._session(run_id)
            return scope_of(session, tenant, subject, f"session/{session}")
        if self._session == "subject" and subject:
            return scope_of(f"subject/{subject}", tenant, subject)
        return scope_of_run(run_id, tenant, subject)
