"""assert_conforms: puts the checks of a plugin together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from flujo_core.errors import FlujoError
from flujo_core.testing.conformance.blocking import check_blocking
from flujo_core.testing.conformance.cancellation import check_cancellation
from flujo_core.testing.conformance.faults import check_faults
from flujo_core.testing.conformance.finding import Finding, Remark
from flujo_core.testing.conformance.imports import check_imports
from flujo_core.testing.conformance.loading import check_loading, check_registrations
from flujo_core.testing.conformance.order import check_order
from flujo_core.testing.conformance.runs import check_runs
from flujo_core.testing.conformance.subject import Given, Subject

LEAST_PATIENCE = 0.03
"""How long one call of one hook may take while a hook hangs, at least, in seconds."""


@dataclass(frozen=True, slots=True)
class Conformance:
    """What ``assert_conforms`` found of a plugin that conforms.

    Attributes:
        plugin: Its name.
        remarks: What was not checked, and what its author may want to know.
        seconds: How long that took.
    """

    plugin: str
    remarks: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        lines = [f"plugin '{self.plugin}' conforms ({self.seconds:.1f} s)", *(f"- {remark}" for remark in self.remarks)]
        return "\n".join(lines)


def assert_conforms(
    plugin: Given,
    /,
    *,
    may_import: Sequence[str] = (),
    import_seconds: float = 1.0,
    import_targets: bool = True,
    blocking_seconds: float = 0.1,
) -> Conformance:
    """Checks that a plugin keeps the contract of plugins, whatever happens around it.

    It is loaded, imported in a process of its own, and run with small pipelines, alone and beside neighbours that do
    wrong at each hook. Give its class, or a function that makes it: then each trial has a plugin of its own, and many
    go on at once. An instance goes through them one by one.

    Args:
        plugin: The plugin, its class, or a function without parameters that makes it.
        may_import: Heavy packages that importing it may import: ``("numpy",)``.
        import_seconds: How much processor time importing it may take, beyond that of ``flujo_core``.
        import_targets: Whether the targets that it registers as ``module:attr`` are imported.
        blocking_seconds: How long one of its hooks may keep the event loop to itself.

    Returns:
        What is worth knowing of a plugin that conforms.

    Raises:
        AssertionError: It does not; the message lists everything that was found.
        FlujoError: There is a running event loop, which this would block.
    """
    _refuse_to_block()
    start, subject = monotonic(), Subject(plugin)
    with _quiet():
        found: list[Finding | Remark] = list(check_loading(subject))
        if not found:
            found += check_imports(subject, may_import=may_import, seconds=import_seconds)
            found += check_registrations(subject, import_targets=import_targets)
            found += _running(subject, blocking_seconds)
    if wrong := [one for one in found if isinstance(one, Finding)]:
        raise AssertionError(_message(subject, wrong))
    return Conformance(subject.name, tuple(dict.fromkeys(str(one) for one in found)), monotonic() - start)


def _refuse_to_block() -> None:
    with suppress(RuntimeError):  # there is none, as there should be
        asyncio.get_running_loop()
        raise FlujoError("'assert_conforms' would block the running event loop; call it in a test that is not async")


@contextmanager
def _quiet() -> Iterator[None]:
    """Logs nothing while the block lasts, as hundreds of failures are passed over; leaves structlog as it was."""
    import structlog.testing  # noqa: PLC0415 - dear to import

    was_configured = structlog.is_configured()
    try:
        with structlog.testing.capture_logs():
            yield
    finally:
        if not was_configured:
            structlog.reset_defaults()


def _running(subject: Subject, blocking_seconds: float) -> Iterator[Finding | Remark]:
    """What is checked by running; a plugin that cannot run plainly is not tried with faults."""
    runs = check_runs(subject)
    found = [*runs.found, *check_blocking(subject, blocking_seconds)]
    yield from found
    if any(isinstance(one, Finding) for one in found):
        return
    patience = max(LEAST_PATIENCE, 4 * runs.longest)
    yield from check_faults(subject, patience)
    yield from check_cancellation(subject, patience)
    yield from check_order(subject)


def _message(subject: Subject, wrong: Sequence[Finding]) -> str:
    lines = [f"plugin '{subject.title}' does not conform:", *(f"- {one}" for one in wrong)]
    if any(one.check in ("loading", "runs", "blocking") for one in wrong):
        lines.append("Mend that first: what comes after it was not checked.")
    return "\n".join(lines)
