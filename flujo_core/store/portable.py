"""Runs in a file that any store can take in: JSON lines, each with a digest of itself and of all lines before it.

The first line has the version of the format, and the last one the number of runs. A line that was changed, added, taken
away or put elsewhere breaks the chain there; a file without its last line is torn. Whoever writes the whole file anew
can make another chain: the digest of the last line, noted elsewhere, tells the one that was exported.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import sha256
from typing import IO, Any, NamedTuple

from flujo_core.errors import StoreRefused, UnknownRun
from flujo_core.store.paging import every_run
from flujo_core.store.protocol import Mail, Record, RunSummary, Store

VERSION = 2

CHAIN = b'{"chain":"'
"""What each line begins with, before the digest."""


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
        async for run in every_run(store):
            yield await _copy(store, run)
    for run_id in run_ids:
        found = await store.run(run_id)
        if found is None:
            raise UnknownRun(f"there is no run '{run_id}' in the store; 'flujo runs list' shows those that there are")
        yield await _copy(store, found)


async def _copy(store: Store, run: RunSummary) -> RunCopy:
    """The run as its summary says; what has come meanwhile is left out."""
    records = (await store.read(run.run_id))[: run.records]
    mail = (await store.mail(run.run_id))[: run.mail]
    return RunCopy(run.run_id, run.tenant, run.epoch, run.taken, records, mail)


class PortableWriter:
    """Writes runs into a file.

    Args:
        file: The file.

    Attributes:
        digest: That of all that was written so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._runs = 0
        self.digest = ""
        self._write({"flujo_runs": VERSION})

    def write(self, run: RunCopy) -> None:
        """Writes a run."""
        counts = {"records": len(run.records), "mail": len(run.mail)}
        self._write({"run_id": run.run_id, "tenant": run.tenant, "epoch": run.epoch, "taken": run.taken} | counts)
        for record in run.records:
            self._write(_plain(record._asdict(), "run_id", "tenant"))
        for mail in run.mail:
            self._write(_plain(mail._asdict(), "run_id"))
        self._runs += 1

    def end(self) -> None:
        """Writes the number of runs, without which the file is refused."""
        self._write({"runs": self._runs})

    def _write(self, facts: dict[str, Any]) -> None:
        body = json.dumps(facts, separators=(",", ":")).encode()[1:]
        self.digest = _chained(self.digest, body)
        self._file.write(CHAIN + self.digest.encode() + b'",' + body + b"\n")


def _chained(before: str, body: bytes) -> str:
    """The digest of a line."""
    return sha256(before.encode() + body).hexdigest()


def _plain(facts: dict[str, Any], *left_out: str) -> dict[str, Any]:
    plain = {name: value for name, value in facts.items() if name not in left_out}
    return plain | {"payload": b64encode(facts["payload"]).decode()}


class Bundle(NamedTuple):
    """What a file holds.

    Attributes:
        runs: The runs.
        digest: That of its last line, which tells the file from every other one.
    """

    runs: Sequence[RunCopy]
    digest: str


def read_portable(lines: Iterable[bytes], name: str) -> Bundle:
    """What a file holds, after checking all of it.

    Args:
        lines: Its lines.
        name: Its name, for messages.

    Raises:
        StoreRefused: It is no such file, it is torn, or it was changed; the message says where.
    """
    kept = list(lines)
    version = _facts(kept[0]).get("flujo_runs") if kept else None
    if version is None:
        raise StoreRefused(f"{name} holds no exported runs; 'flujo runs export' writes such files")
    if version != VERSION:
        raise StoreRefused(f"{name} is of version {version!r}, and this Flujo reads version {VERSION}")
    digest = ""
    plain: list[bytes] = []
    for number, line in enumerate(kept, 1):
        body = line.removesuffix(b"\n")[len(CHAIN) + 66 :]
        digest = _chained(digest, body)
        if line != CHAIN + digest.encode() + b'",' + body + b"\n":
            raise StoreRefused(
                f"{name} was changed at line {number}{_place(plain)}: that line was written otherwise, or is torn, or"
                " lines before it are missing or in another place; export the runs again"
            )
        plain.append(b"{" + body)
    try:
        runs = _runs(plain[1:-1])
        counted = json.loads(plain[-1])["runs"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreRefused(f"{name} cannot be read ({type(error).__name__}); its end may be missing") from error
    if counted != len(runs):
        raise StoreRefused(f"{name} cannot be read: it says that it holds {counted} runs, and holds {len(runs)}")
    return Bundle(runs, digest)


def _place(before: Sequence[bytes]) -> str:
    """Where the line behind these is, for messages: which record or mail of which run."""
    for back, line in enumerate(reversed(before)):
        facts = _facts(line)
        if "run_id" in facts:
            number, records = back + 1, facts["records"]
            what = f"record {number}" if number <= records else f"mail {number - records}"
            return f", {what} of run '{facts['run_id']}'" if number <= records + facts["mail"] else ""
    return ""


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
