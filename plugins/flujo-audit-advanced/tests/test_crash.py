"""Writers that die, disks that fill and fail: nothing acknowledged is lost, and what was trimmed is on record."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditError, AuditLog, LogDamaged, LogFailed, LogFull
from flujo_audit_advanced.segment import HEADER, read_segment

DRIVER = Path(__file__).with_name("crash_driver.py")
POINTS = 200


def driven(*arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, str(DRIVER), *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("how", ["kill", "power"])
def test_killed_at_200_points_no_acknowledged_event_is_lost_and_the_log_verifies(kit: Any, how: str) -> None:
    count = driven("count", kit.folder)
    assert count > 3 * POINTS
    killed: list[str] = []
    tried: set[int] = set()
    while len(killed) < POINTS:  # how the threads meet decides how many calls there are: some end before their point
        missing = POINTS - len(killed)
        points = {(2 * number + 1) * count // (2 * missing) for number in range(missing)} - tried
        tried |= points
        killed += [point for point, left in driven(how, kit.folder, *sorted(points)).items() if left == 0]
        count = count * 4 // 5
        assert count > 100
    for point in killed:
        _check_recovered(kit, kit.folder / point, (kit.folder / f"{point}.acked").read_text())


def _check_recovered(kit: Any, place: Path, acked: str) -> None:
    acknowledged = dict(line.split(" ", 1) for line in acked.splitlines() if line.endswith("}"))

    async def main() -> dict[str, str]:
        async with await AuditLog.open(place / "log", kit.signer, origin=kit.key.name) as log:
            assert log.trouble is None
            return {str(index): record.decode() for index, record in log.read(0)}

    found = asyncio.run(main())
    assert {index: found.get(index) for index in acknowledged} == acknowledged, place
    report = kit.verified(place / "log", copies=(place / "copy",))
    assert report.findings == [] and report.unsealed == 0, place
    trimmed = {one.name for one in (place / "log" / "trimmed").glob("*")}
    said = [json.loads(record) for record in found.values() if '"log.recovered"' in record]
    assert {one["file"].removeprefix("trimmed/") for one in said} >= trimmed


def unsealed(kit: Any) -> Path:
    """A log whose writer is killed when it has written a checkpoint, and then three batches."""

    async def main() -> None:
        async with await kit.open(checkpoint_every=600) as log:
            for number in range(300):
                log.post(kit.event(number))
            await log.checkpoint()
            for number in range(300, 303):
                await log.append(kit.event(number))
            kit.copied(log.path, "dead")

    asyncio.run(main())
    return Path(kit.folder / "dead")


async def opened(kit: Any, name: str) -> list[bytes]:
    async with await kit.open(name) as log:
        return [record for _, record in log.read(0)]


def test_a_write_that_is_torn_at_any_byte_loses_only_its_own_batch_and_is_put_on_record(kit: Any) -> None:
    dead = unsealed(kit)
    (segment,) = (dead / "append").iterdir()
    whole = segment.read_bytes()
    found = read_segment(segment)
    assert found is not None and len(found.records) == 304 and found.end == len(whole)
    last = whole.rindex(whole[16:32])  # the nonce: where the last batch begins
    for cut in range(last, len(whole)):
        torn = kit.copied(dead, f"torn{cut}")
        for rest in (whole[:cut], whole[:cut] + b"\0" * (len(whole) - cut)):
            if rest == whole:
                continue
            shutil.rmtree(torn)
            kit.copied(dead, torn.name)
            (torn / "append" / segment.name).write_bytes(rest)
            records = asyncio.run(opened(kit, torn.name))
            assert records[:303] == found.records[:303] and kit.event(302) not in records
            lost = rest[last:]
            said = [json.loads(one) for one in records[303:]]
            assert [one["kind"] for one in said] == (["log.recovered"] if lost else []) + ["log.opened"]
            if lost:
                assert (said[0]["bytes"], said[0]["sha256"]) == (len(lost), sha256(lost).hexdigest())
                assert (torn / said[0]["file"]).read_bytes() == lost
        shutil.rmtree(torn)


def test_a_bad_batch_before_a_good_one_is_damage_and_nothing_is_trimmed(kit: Any) -> None:
    dead = unsealed(kit)
    (segment,) = (dead / "append").iterdir()
    whole = bytearray(segment.read_bytes())
    before = whole.rindex(whole[16:32], 0, whole.rindex(whole[16:32]))  # the last but one
    for place in (before, before + 20, before + 40, before + 70):
        bad = bytearray(whole)
        bad[place] ^= 1
        segment.write_bytes(bad)
        with pytest.raises(LogDamaged, match="is bad and good ones follow it"):
            asyncio.run(opened(kit, "dead"))
        assert segment.read_bytes() == bad and not (dead / "trimmed").exists()
        assert not kit.verified(dead).intact


def test_sealed_records_are_never_trimmed(kit: Any) -> None:
    dead = unsealed(kit)
    (segment,) = (dead / "append").iterdir()
    for size in (HEADER.size, 1000, 5000):
        segment.write_bytes(segment.read_bytes()[:size])
        with pytest.raises(LogDamaged):
            asyncio.run(opened(kit, "dead"))
        assert segment.stat().st_size == min(size, 5000) or size == 5000
        shutil.rmtree(dead)
        dead = kit.copied(kit.folder / "log", "dead")
        segment = max((dead / "append").iterdir())
    segment.write_bytes(b"something else".ljust(100))
    with pytest.raises(LogDamaged, match="not those of a segment"):
        asyncio.run(opened(kit, "dead"))


def test_a_segment_whose_header_is_torn_had_nothing_in_it(kit: Any) -> None:
    dead = unsealed(kit)
    (segment,) = (dead / "append").iterdir()
    segment.with_name(f"{int(segment.name) + 1:020}").write_bytes(b"flujo-audit")
    records = asyncio.run(opened(kit, "dead"))
    assert len(records) == 306 and b"log.recovered" in records[304]


def test_segments_are_removed_when_their_records_are_in_synced_tiles(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open(checkpoint_every=600) as log:
            for number in range(1400):
                log.post(kit.event(number, payload="x" * 30_000))
                if number % 100 == 0:
                    await log.flush()
            assert len(list((log.path / "append").iterdir())) >= 3
            kit.copied(log.path, "before")
            await log.checkpoint()
            assert len(list((log.path / "append").iterdir())) == 1
            kit.copied(log.path, "dead")

    asyncio.run(main())
    records = asyncio.run(opened(kit, "dead"))
    assert len(records) == 1402 and records[1400] == kit.event(1399, payload="x" * 30_000)
    assert kit.verified(kit.folder / "dead").intact
    assert len(asyncio.run(opened(kit, "dead"))) == 1403

    _check_damaged_segments(kit)


def _check_damaged_segments(kit: Any) -> None:
    """Of the log before the last checkpoint, which had three segments, the middle one is damaged."""
    first, middle, last = sorted((kit.folder / "before/append").iterdir())
    whole = middle.read_bytes()
    for data, why in (
        (whole[:-1000], "it begins with record"), (whole + b"x" * 99, "batch before it is bad"),
        (whole[:10], "too short to be a segment"), (None, "it begins with record"),
    ):  # fmt: skip
        middle.unlink(missing_ok=True)
        if data is not None:
            middle.write_bytes(data)
        with pytest.raises(LogDamaged, match=why):
            asyncio.run(opened(kit, "before"))
        assert not kit.verified(kit.folder / "before").intact
        assert first.exists() and last.exists() and not (kit.folder / "before/trimmed").exists()
    middle.write_bytes(whole)
    assert len(asyncio.run(opened(kit, "before"))) == 1402


def test_segments_are_kept_when_their_tiles_could_not_be_synced(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def broken(file: int) -> None:
        if "/tile/" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(file)

    async def main() -> None:
        log = await kit.open(checkpoint_every=600)
        for number in range(1400):
            log.post(kit.event(number, payload="x" * 30_000))
        await log.flush()
        segments = len(list((log.path / "append").iterdir()))
        assert segments >= 2
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", broken)
            with pytest.raises(AuditError, match="tiles could not be synced"):
                await log.checkpoint()
        with pytest.raises(AuditError, match="tiles could not be synced"):
            await log.close()
        assert len(list((log.path / "append").iterdir())) == segments
        async with await kit.open() as again:
            assert again.size == 1402

    asyncio.run(main())
    assert kit.verified(kit.folder / "log").intact


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from flujo_audit_advanced import AuditLog, LocalSigner, LogFull, encode_record

def event(number):
    return encode_record({"id": str(number), "kind": "work.done", "at": number, "payload": "x" * 3000})

async def main():
    acked = []
    signer = LocalSigner(bytes(range(32)))
    log = await AuditLog.open(sys.argv[1], signer, origin="flujo.test/audit", checkpoint_every=600)
    FILL
    for number in range(2000):
        try:
            acked.append(await log.append(event(number)))
        except LogFull as error:
            assert "no space left" in str(error), error
            break
    else:
        raise AssertionError("it was never full")
    held = log.size
    try:
        await log.append(event(9999))
    except LogFull:
        pass
    else:
        raise AssertionError("it is full and took more")
    assert log.size == held and acked == list(range(1, held))
    for number in range(3):
        log.post(event(9000 + number))
    try:
        await log.flush()
    except LogFull as error:
        assert "3 records that were posted" in str(error), error
    else:
        raise AssertionError("nobody was told")
    assert await log.flush() == held
    FREE
    assert await log.append(event(10000)) == held + 1
    (_, gap), (_, last) = log.read(held)
    assert b'"count":3' in gap and b'"log.records_lost"' in gap and last == event(10000)
    await log.close()
    print(held)

asyncio.run(main())
"""


def full(folder: Path, fill: str, free: str, *before: str) -> int:
    code = FULL.replace("FILL", fill).replace("FREE", free)
    done = subprocess.run(
        [*before, sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_file_that_may_not_grow_refuses_events_and_takes_them_again_when_it_may(kit: Any) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))"
    more = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    held = full(kit.folder / "log", limit, more)
    report = kit.verified(kit.folder / "log")
    assert report.intact and report.size == held + 2


def test_a_disk_that_is_full_refuses_events_and_takes_them_again_when_it_is_not(kit: Any) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own cannot be mounted here; RLIMIT_FSIZE is tested")
    disk = kit.folder / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=2m none {disk} && "$@" && cp -R {disk}/log {kit.folder}/kept'
    fill = "filler = Path(sys.argv[1]).with_name('filler'); filler.write_bytes(b'x' * 1_400_000)"
    held = full(disk / "log", fill, "filler.unlink()", "unshare", "-rm", "sh", "-c", mount, "sh")
    report = kit.verified(kit.folder / "kept")
    assert report.intact and report.size == held + 2


def test_after_a_sync_that_failed_nothing_is_taken_until_the_log_is_opened_again(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        log = await kit.open(checkpoint_every=600)
        assert await log.append(kit.event(1)) == 1
        with monkeypatch.context() as disk:
            disk.setattr(os, "fdatasync", broken)
            with pytest.raises(LogFailed, match="open it again"):
                await log.append(kit.event(2))
        for _ in range(2):
            with pytest.raises(LogFailed):
                await log.append(kit.event(3))
            with pytest.raises(LogFailed):
                log.post(kit.event(3))
            with pytest.raises(LogFailed):
                await log.flush()
            with pytest.raises(LogFailed):
                await log.checkpoint()
        assert isinstance(log.trouble, LogFailed) and not isinstance(log.trouble, LogFull)
        with pytest.raises(LogFailed):
            await log.close()
        async with await kit.open() as again:
            assert [record for _, record in again.read(0)][1] == kit.event(1)
            assert await again.append(kit.event(4)) >= 3

    asyncio.run(main())
    assert kit.verified(kit.folder / "log").intact


def test_after_a_mistake_of_its_own_nobody_is_left_waiting(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: bytes) -> Any:
        raise ZeroDivisionError

    async def main() -> None:
        log = await kit.open(checkpoint_every=600)
        with monkeypatch.context() as mistake:
            mistake.setattr("flujo_audit_advanced.segment.sha256", broken)
            with pytest.raises(LogFailed, match="unexpected ZeroDivisionError"):
                await asyncio.wait_for(log.append(kit.event(1)), 20)
        for use in (log.append(kit.event(2)), log.checkpoint(), log.close()):
            with pytest.raises(LogFailed):
                await asyncio.wait_for(use, 20)
        async with await kit.open() as again:
            assert again.size == 2

    asyncio.run(main())


def test_rlimit_is_what_the_test_of_full_disks_needs() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
