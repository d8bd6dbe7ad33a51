"""The log as its writer sees it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import (
    AuditError,
    LocalSigner,
    LogDamaged,
    LogFailed,
    LogOverloaded,
    NotSigned,
    SignerUnavailable,
    encode_record,
    key_of,
)
from flujo_audit_advanced.checkpoint import parse_checkpoint
from flujo_audit_advanced.layout import tile_path, tiles_of, unbundled
from flujo_audit_advanced.record import parse_record

from flujo_core import ConfigurationError


def test_records_come_back_with_their_numbers_exactly_as_they_were_given(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open() as log:
            assert log.size == 1 and log.trouble is None
            numbers = await asyncio.gather(*(log.append(kit.event(number)) for number in range(700)))
            assert numbers == list(range(1, 701)) and log.size == 701
            assert list(log.read(1)) == [(number + 1, kit.event(number)) for number in range(700)]
            assert list(log.read(699)) == [(699, kit.event(698)), (700, kit.event(699))]
            assert list(log.read(701)) == list(log.read(9999)) == []
        async with await kit.open() as log:
            assert list(log.read(300))[:2] == [(300, kit.event(299)), (301, kit.event(300))]

    asyncio.run(main())


def test_what_is_posted_is_written_in_order_with_what_is_appended(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open(durable=False) as log:
            for number in range(0, 100, 2):
                log.post(kit.event(number))
                assert await log.append(kit.event(number + 1)) == number + 2
            assert await log.flush() == 101
            assert [record for _, record in log.read(1)] == [kit.event(number) for number in range(100)]

    asyncio.run(main())


def test_records_may_come_from_several_loops_and_threads(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open() as log:

            async def produce(first: int) -> list[int]:
                return [await log.append(kit.event(number)) for number in range(first, first + 20)]

            found = await asyncio.gather(
                *(asyncio.to_thread(asyncio.run, produce(1000 * thread)) for thread in range(5)), produce(9000)
            )
            assert sorted(number for one in found for number in one) == list(range(1, 121))
            assert all(one == sorted(one) for one in found)

    asyncio.run(main())


def test_an_append_that_is_cancelled_does_not_harm_the_others(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open() as log:
            tasks = [asyncio.ensure_future(log.append(kit.event(number))) for number in range(10)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(found[3], asyncio.CancelledError) and found[4] == 5
            assert await log.append(kit.event(99)) == 11

    asyncio.run(main())


def test_more_than_may_wait_is_refused_and_nothing_of_it_is_taken(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open(most_waiting=100_000) as log:
            taken = 0
            with pytest.raises(LogOverloaded):
                for number in range(100_000):
                    log.post(kit.event(number, payload="x" * 60_000))
                    taken += 1
            assert await log.flush() == taken + 1
            assert await log.append(kit.event(1)) == taken + 1

    asyncio.run(main())


def test_a_closed_log_takes_nothing_and_can_be_opened_again(kit: Any) -> None:
    async def main() -> None:
        log = await kit.open()
        await log.close()
        for use in (log.append(kit.event(1)), log.flush(), log.checkpoint()):
            with pytest.raises(LogFailed, match="closed"):
                await use
        with pytest.raises(LogFailed, match="closed"):
            log.post(kit.event(1))
        async with await kit.open() as again:
            assert again.size == 2

    asyncio.run(main())


def test_a_checkpoint_is_signed_by_itself_while_records_come_and_not_when_none_do(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open(checkpoint_every=0.02) as log:
            await log.append(kit.event(1))
            for _ in range(2000):
                if log.sealed == 2:
                    break
                await asyncio.sleep(0.01)
            assert log.sealed == 2
            before = (log.path / "checkpoint").stat().st_mtime_ns
            await asyncio.sleep(0.2)
            assert (log.path / "checkpoint").stat().st_mtime_ns == before
            assert parse_checkpoint(await log.checkpoint())[0].size == 2

    asyncio.run(main())


def test_the_files_are_those_of_tlog_tiles(kit: Any) -> None:
    log: Path = kit.made(69_999, durable=False, checkpoint_every=600)  # the example of c2sp.org/tlog-tiles
    names = {str(one.relative_to(log)) for one in (log / "tile").rglob("*") if one.is_file()}
    expected = {tile_path(level, number, width) for level, number, width in tiles_of(70_000)}
    assert {one for one in names if "entries" not in one} == expected
    assert {"tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"} <= expected
    assert len(unbundled((log / "tile/entries/273.p/112").read_bytes())) == 112
    assert tile_path(0, 1234067, 8) == "tile/0/x001/x234/067.p/8"
    assert len(list((log / "append").iterdir())) == 1


def test_the_log_says_who_opened_it_and_what_was_recovered(kit: Any) -> None:
    log = kit.made(0)
    kit.made(0)
    said = [parse_record(record) for record in kit.records(log)]
    assert [(one["kind"], one["origin"], one["key"]) for one in said] == [
        ("log.opened", kit.key.name, str(kit.key))
    ] * 2


def test_a_log_of_another_name_or_key_is_not_opened(kit: Any) -> None:
    kit.made(3)

    async def main() -> None:
        with pytest.raises(LogDamaged, match=r"is of the log 'flujo\.test/audit'"):
            await kit.open(origin="flujo.test/other")
        with pytest.raises(NotSigned):
            await kit.open(signer=LocalSigner.generate())
        for origin in ("", "a b", "a+b", "a\nb"):
            with pytest.raises(ConfigurationError):
                await kit.open("another", origin=origin)
        async with await kit.open() as log:  # the lock was given back each time
            assert log.size == 5

    asyncio.run(main())


def test_a_rotation_that_was_not_sealed_is_taken_up_by_the_new_key(kit: Any) -> None:
    new = LocalSigner.generate()

    class Dying:
        """The new signer, whose process dies when it is to sign."""

        public_key = new.public_key

        def sign(self, message: bytes, /) -> bytes:
            kit.copied(kit.folder / "log", "dead")
            return new.sign(message)

    async def main() -> None:
        async with await kit.open(checkpoint_every=600) as log:
            await log.append(kit.event(1))
            await log.checkpoint()
            await log.rotate(Dying())
        with pytest.raises(NotSigned, match="since its rotation"):
            await kit.open("dead")
        async with await kit.open("dead", signer=new) as log:
            assert log.size == 4

    asyncio.run(main())
    for key in (kit.key, key_of(kit.key.name, new)):
        assert kit.verified(kit.folder / "dead", key=key).intact


def test_another_process_is_refused_while_one_writes(kit: Any) -> None:
    code = (
        "import asyncio, sys; from flujo_audit_advanced import AuditLog, LocalSigner\n"
        "asyncio.run(AuditLog.open(sys.argv[1], LocalSigner(bytes(range(32))), origin='flujo.test/audit'))"
    )

    async def main() -> None:
        async with await kit.open() as log:
            command = [sys.executable, "-c", code, str(log.path)]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "LogBusy" in done.stderr

    asyncio.run(main())


def test_a_folder_that_cannot_be_written_is_said_to_be_so(kit: Any) -> None:
    (kit.folder / "file").write_text("")
    with pytest.raises((AuditError, OSError)):
        asyncio.run(kit.open("file"))
    (kit.folder / "log").mkdir()
    (kit.folder / "log/lock").mkdir()
    with pytest.raises(AuditError, match="cannot be opened for writing"):
        asyncio.run(kit.open())


def test_a_log_whose_key_cannot_be_had_is_not_opened_and_not_locked(kit: Any) -> None:
    class Away:
        """A signer whose server is away."""

        public_key = kit.signer.public_key

        def sign(self, message: bytes, /) -> bytes:
            raise SignerUnavailable("the key server did not answer")

    async def main() -> None:
        with pytest.raises(SignerUnavailable):
            await kit.open(signer=Away())
        async with await kit.open() as log:
            assert log.sealed == log.size == 2

    asyncio.run(main())


def test_its_own_events_have_ids_and_times_like_all_others(kit: Any) -> None:
    for data in kit.records(kit.made(0)):
        record = json.loads(data)
        assert len(record["id"]) == 32 and abs(record["at"] - time.time_ns() // 1000) < 60_000_000
        assert encode_record(record | {"kind": "x"}) == data.replace(b'"log.opened"', b'"x"')
