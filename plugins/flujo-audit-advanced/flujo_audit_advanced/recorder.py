"""Recorder: writes records by their rules: nothing is begun that is not on record, and what was lost is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import count
from logging import getLogger
from threading import Lock, Thread
from typing import Final, Protocol
from uuid import uuid4

from flujo_audit_advanced.account import NO_VALUES, Facts, Values, account_of
from flujo_audit_advanced.digest import Digester, as_json
from flujo_audit_advanced.errors import AuditError, NotRecorded
from flujo_audit_advanced.held import HeldLog, NotOpen, beside, has_failed
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.record import EncodedRecord, Value, encoded  # what is made here is what the schema allows
from flujo_audit_advanced.rule import Rules
from flujo_core import AppInfo, RunEnded, RunEvent, RunPaused, RunResumed, RunStarted

logger: Final = getLogger("flujo.audit")


class KeepsPayloads(Protocol):
    """Keeps values so that they can be erased."""

    async def put(self, data: bytes, /, *, run: str, subject: str | None) -> dict[str, Value]:
        """Keeps one; gives what stands in the record for it. It is durable then."""
        ...


class Recorder:
    """Writes the records of one deployment.

    Args:
        held: The log.
        rules: What is kept, and how.
        digester: Makes what stands for values.
        timeout: Seconds that a record may take to be durable.
        payloads: Keeps the values that rules want in full.
    """

    def __init__(
        self, held: HeldLog, rules: Rules, digester: Digester, timeout: float, payloads: KeepsPayloads | None = None
    ) -> None:
        self.digester = digester
        self._held, self._rules, self._timeout, self._payloads = held, rules, timeout, payloads
        self._prefix, self._count = f"{uuid4().hex[:20]}-", count()
        self._renewing = Lock()
        self._subjects: dict[str, str] = {}

    def began(self, run: str, subject: str) -> None:
        """Takes note of whom a run is about, by a digest that anybody can make."""
        if subject:
            self._subjects[run] = subject

    async def record(
        self,
        kind: str,
        facts: Mapping[str, Value],
        values: Values = NO_VALUES,
        *,
        run: str | None = None,
        tenant: str | None = None,
        address: str = "",
    ) -> None:
        """Writes a record, as the rule of its kind says.

        Args:
            kind: What happened.
            facts: What stands in clear.
            values: What digests stand for, by name.
            run: The run's id.
            tenant: Whose run it is.
            address: The step's address.

        Raises:
            NotRecorded: Its rule is strict, and it is not durable.
        """
        rule = self._rules.of(kind)
        if rule.mode == "off":
            return
        record: Facts = {"id": self._id(), "kind": kind, "at": time.time_ns() // 1000}
        if run is not None:
            record["run"] = run
        if tenant is not None:
            record["tenant"] = tenant
        if address:
            record["address"] = self.digester.address(address)
        subject = self._subjects.get(run, "") if run is not None else ""
        if subject:
            record["subject"] = self.digester.of("subject", subject.encode())
        try:
            if not values or rule.level == "metadata":
                pass
            elif rule.level == "full" and self._payloads is not None:
                record |= await self._kept(self._payloads, values, run or "", subject)
            else:
                record |= {name: self.digester.of_value(value) for name, value in values.items()}
            if rule.mode == "strict":
                await self._written({**record, **facts})
            else:
                self._posted(encoded({**record, **facts}))
        except (AuditError, TimeoutError) as error:
            self._failed(kind, rule.mode == "strict", error)

    async def tell(self, event: RunEvent) -> None:
        """Writes the record of an event.

        Raises:
            NotRecorded: Its rule is strict, and it is not durable.
        """
        account = account_of(event)
        if isinstance(event, RunStarted | RunResumed):
            self.began(event.run_id, event.origin.subject)
        if account is not None:
            await self.record(
                account.kind,
                account.facts | {"sequence": event.sequence, "happened": round(event.at * 1e6)},
                account.values,
                run=event.run_id,
                tenant=event.tenant,
                address=event.address,
            )
        if isinstance(event, RunEnded | RunPaused):
            self._subjects.pop(event.run_id, None)

    async def _kept(self, payloads: KeepsPayloads, values: Values, run: str, subject: str) -> Facts:
        """What stands in a record for values that are kept in full."""
        found: Facts = {}
        for name, value in values.items():
            async with asyncio.timeout(self._timeout):
                put = await payloads.put(as_json(value), run=run, subject=subject or None)
            found[name] = {"payload": put}
        return found

    def _id(self) -> str:
        return f"{self._prefix}{next(self._count)}"

    async def _written(self, record: Facts) -> None:
        async with asyncio.timeout(self._timeout):
            try:
                log = await self._appended(record)
            except AuditError as error:
                if not has_failed(error):
                    raise
                await beside(self._held.renew, self._timeout)
                # under another id: of the first, the disk may have kept the bytes
                log = await self._appended(record | {"id": self._id()})
        self._held.losses.tell(log)

    async def _appended(self, record: Facts) -> AuditLog:
        log = self._held.log()
        await log.append(encoded(record))
        return log

    def _posted(self, record: EncodedRecord) -> None:
        try:
            log = self._held.log()
            self._held.losses.tell(log)
            log.post(record)
        except AuditError as error:
            if has_failed(error):
                self._renew()
            raise

    def _failed(self, kind: str, is_strict: bool, error: Exception) -> None:
        why = str(error) if isinstance(error, AuditError) else f"it took longer than {self._timeout:g} s"
        if is_strict and isinstance(error, NotOpen):
            raise error  # no veto: a plugin that is 'open' and could not be started keeps no run from going on
        if is_strict:
            raise NotRecorded(f"'{kind}' could not be put on record: {why}") from error
        self._held.losses.add({kind: 1}, why)

    def _renew(self) -> None:
        """Has the log opened again, beside what goes on."""
        if not self._renewing.acquire(blocking=False):
            return

        def renew() -> None:
            try:
                self._held.renew()
            except AuditError as error:
                logger.error("the audit log cannot be opened again: %s", error)
            finally:
                self._renewing.release()

        Thread(target=renew, name="flujo-audit-renew", daemon=True).start()


def app_facts(app: AppInfo) -> Facts:
    """What is on record of who starts up: the plugins, what they clear, and a digest of the configuration."""
    plugins: list[Value] = [
        {
            "name": one.name,
            "distribution": one.distribution,
            "version": one.version,
            "policy": one.policy,
            "hooks": list(one.hooks),
            "clears": list(one.clears),
        }
        for one in app.inventory
    ]
    return {
        "flujo": app.version,
        "pipeline": app.pipeline,
        "profile": app.profile,
        "configuration_sha256": app.configuration,
        "plugins": plugins,
        "clearances": [{"address": address, "clears": list(labels)} for address, labels in app.clearances.items()],
    }
