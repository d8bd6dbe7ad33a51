"""What the faults are made with: a store that kills its process, a log of what ran, and processes that are forked.

A *driver* (``driver.py``) imports everything once, has one thread, and forks a child for each stage of a trial: the
first runs a scenario and is killed, the next resumes it, and may be killed in turn, until one comes to an end. What
children tell goes through files: the bodies that ran append lines to a log, and who lives to the end leaves a report.

SIGKILL takes nothing back that a system call has written, so a line that is in the log was written before the kill,
and one that is not was not; only a loss of power would need ``fsync``.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic_core import to_jsonable_python

from flujo_core import Codec, Flujo, PluginSettings, RunFailed, Settings, SQLiteStore, UnknownRun
from flujo_core.errors import AlreadyAnswered
from flujo_core.model.event import AgentReconfigured, AttemptFailed, PipelineMutated, QuestionAsked
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.codec import decode
from flujo_core.store.coding import coded
from flujo_core.store.protocol import Lease, Record, Store

sys.path.append(str(Path(__file__).parents[1] / "contracts"))  # drivers are run without pytest, which would find it
from passing_store import Passing

T = TypeVar("T")

ALONE = Settings(PluginSettings(allow=()))
RUN = "r"
PATIENCE = 30.0
"""Seconds after which a child that has not ended counts as hung."""

When = Literal["before", "while", "after"]


# ---------------------------------------------------------------------------------------------------- what a child does


class Kill(NamedTuple):
    """Where a process kills itself: before, while or after it writes to the store for the k-th time."""

    number: int
    when: When


class Watched(Passing):
    """A store that counts what is written through it, and kills its process at a given place.

    Args:
        kept: The store that keeps everything.
        kill: Where to kill the process, or None.
        of: What counts as writing.
        stops: Called with the number and name of each write, before it.
        ttl: How long leases last, whatever the run asks for; None: as long as that.
    """

    def __init__(
        self,
        kept: Store,
        kill: Kill | None = None,
        *,
        of: Sequence[str] = ("append", "acquire", "post", "release"),
        stops: Callable[[int, str], Awaitable[None]] | None = None,
        ttl: float | None = None,
    ) -> None:
        super().__init__(kept)
        self.kill, self.of, self.stops, self.ttl = kill, of, stops, ttl
        self.writes: list[str] = []

    async def around(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if name not in self.of:
            return await call()
        self.writes.append(name)
        at = self.kill.when if self.kill and self.kill.number == len(self.writes) else None
        if self.stops is not None:
            await self.stops(len(self.writes), name)
        if at == "before":
            die()
        writing = asyncio.ensure_future(call())
        if at == "while":
            await asyncio.sleep(0)
            die()
        found = await writing
        if at == "after" and found is not False:  # mail that came too late is no write
            die()
        return found

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        await super().append(records, self._lasting(lease), taken=taken, release=release)

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        ttl = ttl if self.ttl is None else self.ttl
        return await super().acquire(run_id, holder, ttl, instead_of=instead_of)

    async def renew(self, lease: Lease, /) -> None:
        await super().renew(self._lasting(lease))

    def _lasting(self, lease: Lease) -> Lease:
        return lease if self.ttl is None else lease._replace(ttl=self.ttl)


def die() -> None:
    """Ends this process at once: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may take a moment


@dataclass
class Place:
    """The files of a trial, and which of its processes this one is; ``disk``: where its database is, if elsewhere."""

    folder: Path
    stage: int = 1
    disk: Path | None = None

    @property
    def database(self) -> Path:
        return (self.disk or self.folder) / "runs.db"

    @property
    def log(self) -> Path:
        return self.folder / "bodies.log"

    def report(self, name: str | int) -> Path:
        return self.folder / f"report-{name}.json"


HERE = Place(Path())
"""Where this process writes to; a child sets it."""


def note(what: str, address: str, *, key: str = "", attempt: int = 0, epoch: int = 0) -> None:
    """Appends a line to the log of what ran; it is there when this returns, whatever happens then."""
    line = {"stage": HERE.stage, "what": what, "address": address, "key": key, "attempt": attempt, "epoch": epoch}
    file = os.open(HERE.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


@contextmanager
def noted(info: Any) -> Iterator[None]:
    """Notes that a body begins, and that it ends."""
    about = {"key": info.idempotency_key, "attempt": info.attempt, "epoch": info.epoch}
    note("start", info.address, **about)
    yield
    note("end", info.address, **about)


@dataclass(frozen=True)
class Scenario:
    """What is run, killed and resumed.

    Attributes:
        make: Gives the pipeline, and the keywords of its ``Flujo``.
        input: The run's input.
        codecs: Gives the codecs of its ``Flujo``.
    """

    make: Callable[[], tuple[Any, dict[str, Any]]]
    input: Any = 3
    codecs: Callable[[], Sequence[Codec]] = tuple

    def flujo(self, store: Store) -> Flujo[Any, Any, Any]:
        pipeline, keywords = self.make()
        # in some trials a step's process dies three times: that is no reason to give it up here
        keywords |= {"settings": ALONE, "codecs": self.codecs()}
        made: Flujo[Any, Any, Any] = Flujo(pipeline, store=store, max_recoveries=9, **keywords)
        return made

    def read(self, store: Store) -> Store:
        """A store as the run reads it."""
        codecs = self.codecs()
        return coded(store, Codecs(codecs)) if codecs else store


def answer_to(address: str) -> int:
    """The answer that everybody gives to a question."""
    return sum(map(ord, address)) % 97


async def driven(scenario: Scenario, store: Store) -> dict[str, Any]:
    """Begins the run, or goes on with it, and answers whatever it asks, until it ends."""
    flujo = scenario.flujo(store)
    try:
        result = await begun(scenario, flujo)
        for _ in range(50):
            if result.status != "paused":
                return outcome(result)
            result = await answered(flujo, result)
    except RunFailed as failed:
        return outcome(failed.result) | {"error": type(failed.__cause__).__name__}
    raise AssertionError("the run paused 50 times")


async def begun(scenario: Scenario, flujo: Flujo[Any, Any, Any]) -> Any:
    """The two ways to go on with a run that has crashed take turns."""
    if HERE.stage % 2:
        return await flujo.run_async(scenario.input, run_id=RUN)
    try:
        return await flujo.resume_async(RUN)
    except UnknownRun:  # it was killed before it was
        return await flujo.run_async(scenario.input, run_id=RUN)


async def answered(flujo: Flujo[Any, Any, Any], paused: Any) -> Any:
    """Answers one question, with its token if that is known or needed."""
    questions = await flujo.pending_async()
    assert questions, "the run is paused, and asks nothing"
    address = questions[0].address
    known = {question.address: question.token for question in paused.questions}
    token = known.get(address)
    if token is None and len(questions) > 1:
        token = (await flujo.reissue_async(RUN, address)).token
        assert token, "a new token is given to who asked for it"
    with suppress(AlreadyAnswered):
        return await flujo.resume_async(RUN, answer_to(address), token=token)
    return await flujo.resume_async(RUN)


Reshaping = PipelineMutated | AgentReconfigured


def outcome(result: Any) -> dict[str, Any]:
    """What a run came to, and what became of its pipeline."""
    output = result.output if result.status == "completed" else None
    context = {name: getattr(result.context, name) for name in type(result.context).model_fields}
    shape = sorted((one.address, one.fingerprint) for one in result.events if isinstance(one, Reshaping))
    said = {"status": result.status, "output": to_jsonable_python(output), "context": plain(context)}
    return said | {"changes": [list(one) for one in shape]}


def plain(context: dict[str, Any]) -> Any:
    return {
        name: sorted(value) if isinstance(value, set) else to_jsonable_python(value) for name, value in context.items()
    }


class Known(NamedTuple):
    """What a journal says about bodies.

    Attributes:
        committed: The addresses of the steps that were committed.
        asked: Those whose own question was asked, or that of a hook after them.
        ended: Those that failed for good.
        failed: The attempts that failed, by address.
        calls: The addresses of the finished calls within steps.
        sequences: All sequences, in order.
        epochs: Their epochs.
    """

    committed: list[str]
    asked: list[str]
    ended: list[str]
    failed: list[tuple[str, int]]
    calls: list[str]
    sequences: list[int]
    epochs: list[int]


async def known(store: Store) -> Known:
    """What is durable."""
    records = await store.read(RUN)
    found = Known([], [], [], [], [], [one.sequence for one in records], [one.epoch for one in records])
    for record in records:
        match record.kind:
            case "step_completed":
                found.committed.append(record.address)
            case "step_failed":
                found.ended.append(record.address)
            case "call_completed":
                found.calls.append(record.address)
            case "attempt_failed":
                event = decode(record)
                assert isinstance(event, AttemptFailed)
                found.failed.append((record.address, event.attempt))
            case "question_asked":
                event = decode(record)
                assert isinstance(event, QuestionAsked)
                if event.source in ("step", "post"):
                    found.asked.append(record.address)
    return found


# ------------------------------------------------------------------------------------------------------------- children


class Child:
    """A process that was forked from this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code, or the negative number of the signal that ended it.

        Raises:
            TimeoutError: It does not end; it was killed.
        """
        if self.code is None:
            self._wait(patience)
        assert self.code is not None
        return self.code

    def _wait(self, patience: float) -> None:
        watched, hung = os.pidfd_open(self.pid), False
        try:
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            if not poll.poll(patience * 1000):
                hung = True
                self.kill()
        finally:
            os.close(watched)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if hung:
            raise TimeoutError("a process hung")

    def has_ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None


def forked(place: Place, name: str | int, main: Callable[[], Coroutine[Any, Any, Any]]) -> Child:
    """Starts a child that runs ``main`` and leaves what it gives, or the error, as a report."""
    pid = os.fork()
    if pid:
        return Child(pid)
    code = 70
    try:
        HERE.folder, HERE.stage = place.folder, place.stage
        try:
            found = {"result": asyncio.run(main())}
            code = 0
        except BaseException as error:
            found = {"error": type(error).__name__, "trace": traceback.format_exc()[-6000:]}
            code = 1
        place.report(name).write_text(json.dumps(found))
    finally:
        os._exit(code)


def reported(place: Place, name: str | int) -> dict[str, Any]:
    """What a child left; nothing if it was killed."""
    path = place.report(name)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def lines(place: Place) -> list[dict[str, Any]]:
    """The log of what ran; a line that is not whole was cut by the kill."""
    if not place.log.exists():
        return []
    found = []
    for line in place.log.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def _maker() -> Callable[[Path], Store]:
    """What makes the stores of trials: ``FLUJO_FAULTS_STORE`` names a ``module:function``, as tests of plugins do."""
    named = os.environ.get("FLUJO_FAULTS_STORE")
    if named is None:
        return SQLiteStore
    module, _, name = named.partition(":")
    made: Callable[[Path], Store] = vars(import_module(module))[name]
    return made


_make_store = _maker()


def store_at(place: Place) -> Store:
    return _make_store(place.database)


def until(what: Callable[[], object], patience: float = PATIENCE) -> None:
    """Waits in this process until something is so.

    Raises:
        TimeoutError: It does not become so.
    """
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.002)


async def until_async(what: Callable[[], object], patience: float = PATIENCE) -> None:
    """Waits in a body until something is so."""
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("what was waited for did not happen")
        await asyncio.sleep(0.005)


# --------------------------------------------------------------------------------------------------------------- trials


@dataclass
class Trial:
    """One run, killed and resumed until it ended.

    Attributes:
        kills: How many of its processes were killed.
        befores: What was durable when each of the later stages began, by stage.
        outcome: What the run came to, or None.
        after: What its journal holds at the end.
        log: The bodies that ran.
        trouble: What went wrong with the processes themselves.
        writes: How often the last process wrote.
        seconds: How long the first process took.
    """

    kills: int = 0
    befores: dict[int, Known] = field(default_factory=dict)
    outcome: dict[str, Any] | None = None
    after: Known | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    writes: int = 0
    seconds: float = 0.0


def tried(scenario: Scenario, folder: Path, plans: Sequence[Kill | float | None]) -> Trial:
    """Runs a scenario in a process for each plan, and in one more that is left alone.

    Args:
        scenario: What to run.
        folder: An empty folder.
        plans: Where each process is killed: at a write, or so many seconds after it began to work.
    """
    trial = Trial()
    for stage, plan in enumerate([*plans, None], 1):
        place = Place(folder, stage)
        begun_at = time.monotonic()
        try:
            code = _stage(scenario, place, plan)
        except TimeoutError as hung:
            trial.trouble.append(f"stage {stage}: {hung}")
            break
        trial.seconds = trial.seconds or time.monotonic() - begun_at
        before = place.report(f"before-{stage}")
        if before.exists():
            trial.befores[stage] = Known(*json.loads(before.read_text()))
        if code == -signal.SIGKILL:
            trial.kills += 1
            continue
        found = reported(place, stage)
        if code or "result" not in found:
            trial.trouble.append(f"stage {stage} ended with {code}: {found.get('trace', 'no report')}")
        else:
            trial.outcome, trial.after = found["result"]["outcome"], Known(*found["result"]["after"])
            trial.writes = found["result"]["writes"]
        break
    trial.log = lines(Place(folder))
    return trial


def _stage(scenario: Scenario, place: Place, plan: Kill | float | None) -> int:
    reading, writing = os.pipe()

    async def main() -> dict[str, Any]:
        store = Watched(store_at(place), plan if isinstance(plan, Kill) else None)
        if place.stage > 1:
            before = place.report(f"before-{place.stage}")
            part = before.with_suffix(".part")
            part.write_text(json.dumps(await known(scenario.read(store))))
            part.rename(before)  # whole, or not there
        os.write(writing, b"!")
        found = await driven(scenario, store)
        after = await known(scenario.read(store))
        return {"outcome": found, "after": after, "writes": len(store.writes)}

    child = forked(place, place.stage, main)
    os.close(writing)
    try:
        os.read(reading, 1)  # it is at work, or dead
        if isinstance(plan, float):
            time.sleep(plan)
            if not child.has_ended():
                child.kill()
    finally:
        os.close(reading)
    return child.wait()
