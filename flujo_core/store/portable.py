"""Runs in a file that any store can take in: JSON lines, with a header, and a digest of all that at the end."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import sha256
from typing import IO, Any, NamedTuple

from flujo_core.errors import StoreRefused, UnknownRun
from flujo_core.store.protocol import Mail, Record, RunSummary, Store

VERSION = 1

PAGE = 200
"""How many runs are listed at once."""


class RunCopy(NamedTuple):
    """All that a store has of a run, but its lease.

    Attributes:
        run_id: The run.
        tenant: Whose it is, or None.
        epoch: The epoch of its last lease.
        taken: The number of the last mail that its journal has taken in.
        records: Its journal.
        mail: Its inbox.
    """

    run_id: str
    tenant: str | None
    epoch: int
    taken: int
    records: Sequence[Record]
    mail: Sequence[Mail]


async def copies(store: Store, run_ids: Sequence[str] = ()) -> AsyncIterator[RunCopy]:
    """Copies of runs, as they are now.

    Args:
        store: The store.
        run_ids: Which; none: all, the latest first.

    Raises:
        UnknownRun: There is no such run.
    """
    if not run_ids:
        async for run in _every(store):
            yield await _copy(store, run)
    for run_id in run_ids:
        found = await store.run(run_id)
        if found is None:
            raise UnknownRun(f"there is no run '{run_id}' in the store; 'flujo runs list' shows those that there are")
        yield await _copy(store, found)


async def _every(store: Store) -> AsyncIterator[RunSummary]:
    page: Sequence[RunSummary] = ()
    while page := await store.runs(limit=PAGE, before=page[-1] if page else None):
        for run in page:
            yield run


async def _copy(store: Store, run: RunSummary) -> RunCopy:
    """The run as its summary says; what has come meanwhile is left out."""
    records = (await store.read(run.run_id))[: run.records]
    mail = (await store.mail(run.run_id))[: run.mail]
    return RunCopy(run.run_id, run.tenant, run.epoch, run.taken, records, mail)


class PortableWriter:
    """Writes runs into a file.

    Args:
        file: The file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = sha256()
        self._write({"flujo_runs": VERSION})

    def write(self, run: RunCopy) -> None:
        """Writes a run."""
        counts = {"records": len(run.records), "mail": len(run.mail)}
        self._write({"run_id": run.run_id, "tenant": run.tenant, "epoch": run.epoch, "taken": run.taken} | counts)
        for record in run.records:
            self._write(_plain(record._asdict(), "run_id", "tenant"))
        for mail in run.mail:
            self._write(_plain(mail._asdict(), "run_id"))

    def end(self) -> None:
        """Writes the digest, without which the file is refused."""
        self._write({"sha256": self._digest.hexdigest()})

    def _write(self, facts: dict[str, Any]) -> None:
        line = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)


def _plain(facts: dict[str, Any], *left_out: str) -> dict[str, Any]:
    plain = {name: value for name, value in facts.items() if name not in left_out}
    return plain | {"payload": b64encode(facts["payload"]).decode()}


def read_portable(lines: Iterable[bytes], name: str) -> list[RunCopy]:
    """The runs of a file.

    Args:
        lines: Its lines.
        name: Its name, for messages.

    Raises:
        StoreRefused: It is no such file, it is torn, or it was changed.
    """
    digest, plain, last = sha256(), [], b""
    for line in lines:
        digest.update(last)
        last = line
        plain.append(line)
    if not plain or _facts(plain[0]).keys() != {"flujo_runs"}:
        raise StoreRefused(f"{name} holds no exported runs; 'flujo store export' writes such files")
    if (version := _facts(plain[0])["flujo_runs"]) != VERSION:
        raise StoreRefused(f"{name} is of version {version!r}, and this Flujo reads version {VERSION}")
    if _facts(last) != {"sha256": digest.hexdigest()} or not last.endswith(b"\n"):
        raise StoreRefused(f"{name} is not what was exported: it is torn, or was changed; export the runs again")
    try:
        return _runs(plain[1:-1])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreRefused(f"{name} cannot be read ({type(error).__name__})") from error


def _facts(line: bytes) -> dict[str, Any]:
    """A line's object; of one that is none, nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _runs(lines: Sequence[bytes]) -> list[RunCopy]:
    runs: list[RunCopy] = []
    at = 0
    while at < len(lines):
        head = json.loads(lines[at])
        behind = at + 1 + head.pop("records")
        end = behind + head.pop("mail")
        of_run = {"run_id": head["run_id"]}
        records = [Record(**of_run, tenant=head["tenant"], **_read(line)) for line in lines[at + 1 : behind]]
        mail = [Mail(**of_run, **_read(line)) for line in lines[behind:end]]
        _check(records, lambda one: one.sequence)
        _check(mail, lambda one: one.number)
        if not records or len(records) + len(mail) != end - at - 1:
            raise ValueError("a run is not whole")
        runs.append(RunCopy(**head, records=records, mail=mail))
        at = end
    if len({run.run_id for run in runs}) != len(runs):
        raise ValueError("a run is there twice")
    return runs


def _read(line: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(line)
    return facts | {"payload": b64decode(facts["payload"], validate=True)}


def _check(found: Sequence[Any], number: Callable[[Any], int]) -> None:
    if [number(one) for one in found] != list(range(1, len(found) + 1)):
        raise ValueError("records or mail are not one after another")
