"""The plugin: what happens in runs is put on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flujo_core import (
    AgentInfo,
    AppInfo,
    ConfigurationError,
    Plugin,
    Registry,
    RunEnd,
    RunEvent,
    RunStart,
    StepCall,
    hookimpl,
)

if TYPE_CHECKING:
    from flujo_audit_advanced.held import HeldLog
    from flujo_audit_advanced.recorder import Recorder
    from flujo_audit_advanced.recording import Recording


class AuditPlugin(Plugin):
    """Puts runs on record: what is begun before it is begun, and what came of it after.

    Without a recording, and without ``[plugins.flujo-audit-advanced]`` in the configuration, it adds the command
    ``flujo audit``, and does nothing to runs.

    Args:
        recording: What is put on record, and where.
    """

    name: ClassVar[str] = "audit-advanced"
    dormant: ClassVar[bool] = True

    def __init__(self, recording: Recording | None = None) -> None:
        self._recorder: Recorder | None = None
        self._log: HeldLog | None = None
        self._recording: Recording | None = None
        self.assures: Sequence[str] = ()
        if recording is not None:
            self._take(recording)

    def configure(self, table: Mapping[str, Any], /) -> None:
        """Takes what ``[plugins.flujo-audit-advanced]`` says."""
        from flujo_audit_advanced.configured import recording_of  # noqa: PLC0415 - few are configured

        self._take(recording_of(table))

    def _take(self, recording: Recording) -> None:
        from flujo_audit_advanced.rule import Rules  # noqa: PLC0415 - few are configured

        self._recording, self._log = recording, recording.log()
        self._recorder = recording.recorder(self._log)
        self.assures = ("strict-audit",) if Rules(recording.rules).is_strict else ()

    def register_commands(self, registry: Registry[Any], /) -> None:
        """Add ``audit``, whose commands are in ``flujo_audit_advanced.cli``."""
        registry.add("audit", "flujo_audit_advanced.cli:app")

    async def on_startup(self, app: AppInfo, /) -> None:
        """Opens the log, and says in it who starts up: without that nothing begins."""
        if self._log is None or self._recorder is None:
            return
        import asyncio  # noqa: PLC0415 - few are configured

        from flujo_audit_advanced.recorder import app_facts  # noqa: PLC0415 - few are configured

        await asyncio.to_thread(self._log.open)
        try:
            await self._recorder.record("app.started", app_facts(app))
        except BaseException:  # who was not started is not shut down
            await asyncio.to_thread(self._log.close)
            raise

    async def on_shutdown(self) -> None:
        """Closes the log, if nobody of this process writes it any more."""
        if self._log is not None:
            import asyncio  # noqa: PLC0415 - few are configured

            await asyncio.to_thread(self._log.close)

    @hookimpl(trylast=True)
    async def on_pipeline_start(self, run: RunStart, /) -> None:
        """Puts a run on record before it begins, or goes on."""
        if self._recorder is not None:
            self._recorder.began(run.run_id, run.subject)
            kind = "run.resumed" if run.resumed else "run.started"
            values = {} if run.resumed else {"input": run.initial_input}
            await self._recorder.record(kind, {"pipeline": run.pipeline}, values, run=run.run_id, tenant=run.tenant)

    @hookimpl(trylast=True)
    async def pre_step_execution(self, call: StepCall, /) -> None:
        """Puts a step on record before it begins."""
        if self._recorder is not None:
            await self._recorder.record(
                "step.started",
                {"step": call.step_name, "model": call.model},
                {"input": call.step_input},
                run=call.run_id,
                tenant=call.tenant,
                address=call.address,
            )

    @hookimpl(trylast=True)
    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        """Puts on record that a run is about to end, before others see it."""
        if self._recorder is not None:
            facts = {"status": end.pipeline_result.status}
            await self._recorder.record("run.ending", facts, run=run.run_id, tenant=run.tenant)

    async def on_event(self, event: RunEvent, /) -> None:
        """Puts on record what has happened."""
        if self._recorder is not None:
            await self._recorder.tell(event)

    async def erase(self, *, run: str | None = None, subject: str | None = None) -> int:
        """Erases the payloads of a run that is about nobody, or of all runs about somebody; the records stay.

        Args:
            run: The run's id.
            subject: Whom runs are about, as ``run_async(subject=...)`` said.

        Returns:
            How many groups of payloads there were.

        Raises:
            AuditError: The log is not open, or they cannot be erased.
        """
        from flujo_audit_advanced.erasure import erase  # noqa: PLC0415 - few erase

        if self._log is None or self._recording is None:
            raise ConfigurationError(
                "the plugin 'audit-advanced' is not told what to record: there is nothing to erase"
            )
        return await erase(self._log.log(), self._recording.payloads(), run=run, subject=subject)

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        """Puts the calls of an agent on record."""
        if self._recorder is None:
            return ()
        from flujo_audit_advanced.capability import RecordedCalls  # noqa: PLC0415 - pydantic-ai is dear to import

        return (RecordedCalls(self._recorder),)
