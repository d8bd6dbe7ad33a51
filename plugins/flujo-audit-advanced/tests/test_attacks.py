"""What an attacker does to a log, and what is promised of it; the table is in docs/explanation/audit-log.md."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import (
    AuditError,
    AuditLog,
    Contradicted,
    FolderTarget,
    LocalSigner,
    LogBusy,
    LogDamaged,
    LogFailed,
    NotAnchored,
    NotSigned,
    RecordRejected,
    Witness,
    Witnesses,
    WriteOnceCopy,
    key_of,
)
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import rotation
from flujo_audit_advanced.layout import tile_path, unbundled
from flujo_audit_advanced.record import encoded, parse_record

COUNT = 700  # two full bundles and a part, with what the log says itself


@pytest.fixture
def log(kit: Any) -> Path:
    made: Path = kit.made(COUNT)
    return made


def bundle(log: Path, number: int) -> Path:
    files = [log / tile_path("entries", number), *(log / tile_path("entries", number, 1)).parent.glob("*")]
    return next(one for one in reversed(files) if one.is_file())


Change = Callable[[list[bytes]], list[bytes]]


def in_bundle(log: Path, number: int, change: Change) -> None:
    """Changes one bundle, and keeps how many records it has."""
    path = bundle(log, number)
    records = unbundled(path.read_bytes())
    after = change(list(records))
    path.write_bytes(b"".join(len(one).to_bytes(2, "big") + one for one in after))


def edited(record: bytes) -> bytes:
    return record.replace(b"step.started", b"step.skipped")


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 700])
def test_an_edited_record_is_named(kit: Any, log: Path, index: int) -> None:
    def change(records: list[bytes]) -> list[bytes]:
        records[index % 256] = edited(records[index % 256]).replace(b"log.", b"lag.")
        return records

    in_bundle(log, index // 256, change)
    report = kit.verified(log)
    assert not report.intact and report.findings[0].place == f"record {index}"


async def reopened(kit: Any, **options: Any) -> int:
    async with await kit.open(**options) as log:
        return int(log.size)


def test_a_deleted_record_is_named(kit: Any, log: Path) -> None:
    in_bundle(log, 1, lambda records: records[:44] + records[45:])
    assert kit.verified(log).findings[0].place == "'tile/entries/001'"
    in_bundle(log, 1, lambda records: [*records, kit.event(9999)])
    assert kit.verified(log).findings[0].place == "record 300"


def test_an_inserted_record_is_named(kit: Any, log: Path) -> None:
    in_bundle(log, 0, lambda records: [*records[:7], kit.event(9999), *records[7:-1]])
    assert kit.verified(log).findings[0].place == "record 7"


def test_records_in_another_order_are_named(kit: Any, log: Path) -> None:
    in_bundle(log, 1, lambda records: [*records[:10], records[11], records[10], *records[12:]])
    assert kit.verified(log).findings[0].place == "record 266"


def test_records_moved_between_bundles_are_named(kit: Any, log: Path) -> None:
    first, second = bundle(log, 0), bundle(log, 1)
    ours, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(ours)
    assert kit.verified(log).findings[0].place == "record 0"


def test_a_record_changed_together_with_its_tile_names_the_tile(kit: Any, log: Path) -> None:
    genuine = kit.copied(log, "genuine")
    records = kit.records(log)
    records[300] = edited(records[300])
    kit.rewrite(log, records)
    shutil.copytree(genuine / "tile" / "1", log / "tile" / "1", dirs_exist_ok=True)
    shutil.copytree(genuine / "append", log / "append", dirs_exist_ok=True)
    found = kit.verified(log).findings[0]
    assert found.place == "'tile/0/001'" and "records 256 to 511" in found.what


def test_in_a_log_of_three_levels_the_tile_that_the_root_does_not_vouch_for_is_named(kit: Any) -> None:
    log = kit.made(66_000, durable=False, checkpoint_every=600)
    genuine, segments = kit.copied(log, "genuine"), kit.folder / "segments"
    (log / "append").rename(segments)
    records = kit.records(log)
    records[40_000] = edited(records[40_000])
    kit.rewrite(log, records)
    assert kit.verified(log).findings[0].place == "'checkpoint'"
    for name, place in (
        ("tile/2/000.p/1", "'tile/1/000'"), ("tile/1/000", "'tile/0/156'"), ("tile/0/156", "record 40000"),
    ):  # fmt: skip
        shutil.copy(genuine / name, log / name)
        assert kit.verified(log).findings[0].place == place
    shutil.copy(genuine / "tile/entries/156", log / "tile/entries/156")
    assert kit.verified(log).intact


def test_everything_rewritten_without_the_key_is_refused(kit: Any, log: Path) -> None:
    records = kit.records(log)
    records[300] = edited(records[300])
    kit.rewrite(log, records)
    report = kit.verified(log)
    assert report.findings[0].place == "'checkpoint'" and "not the signed one" in report.findings[0].what
    with pytest.raises(LogDamaged):
        asyncio.run(reopened(kit))


def test_a_copy_names_the_record_even_when_everything_was_rewritten_with_the_key(kit: Any) -> None:
    copy = kit.folder / "copy"
    log = kit.made(COUNT, anchors=[WriteOnceCopy(FolderTarget(copy), every=0)])
    records = kit.records(log)
    records[300] = edited(records[300])
    kit.rewrite(log, records, kit.signer)
    shutil.rmtree(log / "anchors")
    assert kit.verified(log).intact and kit.verified(log).anchored == []
    found = kit.verified(log, copies=(copy,)).findings
    assert found[0].place == "record 300" and "the copy" in found[0].what
    assert any("forked or rewritten" in one.what for one in found)


@pytest.mark.parametrize("what", ["'tile/0/000'", "'tile/0/001'", "'tile/1/000.p/2'", "'tile/0/002.p/190'"])
def test_an_altered_tile_is_named(kit: Any, log: Path, what: str) -> None:
    name = what.strip("'")
    if not (log / name).is_file():
        name = next(str(one.relative_to(log)) for one in (log / name).parent.glob("*"))
        what = f"'{name}'"
    data = bytearray((log / name).read_bytes())
    data[33] ^= 1
    (log / name).write_bytes(data)
    report = kit.verified(log)
    assert [one.place for one in report.findings] == [what]
    (log / name).write_bytes(data[:-1])
    assert [one.place for one in kit.verified(log).findings] == [what]
    (log / name).unlink()
    assert [one.place for one in kit.verified(log).findings] == [what]


@pytest.mark.parametrize("keep", [0, 1, 256, 300, 512, 600])
def test_a_truncated_log_is_refused(kit: Any, log: Path, keep: int) -> None:
    kit.rewrite(log, kit.records(log)[:keep])
    report = kit.verified(log)
    assert not report.intact and "missing" in report.findings[0].what
    assert report.findings[0].number <= keep < report.findings[0].number + 256
    with pytest.raises(LogDamaged):
        asyncio.run(reopened(kit))


def older(kit: Any, **options: Any) -> tuple[Path, Path]:
    """A log, and it as it was once."""

    async def main() -> None:
        async with await kit.open(**options) as log:
            for number in range(300):
                log.post(kit.event(number))
            await log.checkpoint(anchored="anchors" in options)
            kit.copied(log.path, "older")
            for number in range(300, 600):
                log.post(kit.event(number))
            await log.checkpoint(anchored="anchors" in options)

    asyncio.run(main())
    return kit.folder / "log", kit.folder / "older"


def test_truncated_with_an_older_checkpoint_it_is_intact_and_called_unanchored(kit: Any) -> None:
    _, before = older(kit)
    report = kit.verified(before)
    assert report.intact and report.size == 301 and "UNANCHORED" in report.lines()[-1]


def test_truncated_with_an_older_checkpoint_any_later_checkpoint_shows_it(kit: Any) -> None:
    log, before = older(kit)
    report = kit.verified(before, seen=[("mine", (log / "checkpoint").read_bytes())])
    assert "cut off" in report.findings[0].what


def test_truncated_with_an_older_checkpoint_the_copy_shows_it_to_the_auditor_and_to_the_writer(kit: Any) -> None:
    copy = WriteOnceCopy(FolderTarget(kit.folder / "copy"), every=0)
    log, before = older(kit, anchors=[copy])
    assert kit.verified(log, copies=(kit.folder / "copy",)).unanchored == 0
    assert "cut off" in kit.verified(before, copies=(kit.folder / "copy",)).findings[0].what

    async def main() -> None:
        async with await kit.open("older", anchors=[copy]) as again:
            with pytest.raises(Contradicted):
                await again.checkpoint(anchored=True)
            assert isinstance(again.trouble, Contradicted)

    asyncio.run(main())


def test_truncated_with_an_older_checkpoint_the_witness_shows_it(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    anchor = Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)
    log, _ = older(kit, anchors=[anchor])
    seen_by = [kit.verified(log, witnesses=(anchor._witnesses[0].key,)).anchored[0]]
    assert "witness.test/w1" in seen_by[0].by and seen_by[0].size >= 601

    async def main() -> None:
        fresh = Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)
        async with await kit.open("older", anchors=[fresh]) as again:
            with pytest.raises(Contradicted, match="cut off or begun again"):
                await again.checkpoint(anchored=True)

    asyncio.run(main())


def test_a_replayed_checkpoint_leaves_the_records_after_it_unsealed_and_the_writer_refuses_it_once_tiles_are_synced(
    kit: Any,
) -> None:
    log, before = older(kit)
    newest = (log / "checkpoint").read_bytes()
    shutil.copy(before / "checkpoint", log / "checkpoint")
    report = kit.verified(log)
    assert report.intact and report.size == 301 and report.unsealed >= 300 and "UNANCHORED" in report.lines()[-1]
    assert not kit.verified(log, seen=[("mine", newest)]).intact


def test_a_fork_gets_no_cosignature_and_no_copy(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    log, before = older(kit, anchors=[Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)])

    async def main() -> None:
        fresh = Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)
        async with await kit.open("older", anchors=[fresh]) as fork:
            for number in range(9000, 9400):
                fork.post(kit.event(number))
            with pytest.raises(Contradicted, match="fork or was rewritten"):
                await fork.checkpoint(anchored=True)
            return None

    asyncio.run(main())
    report = kit.verified(before, seen=[("theirs", (log / "checkpoint").read_bytes())])
    assert "forked or rewritten between record" in report.findings[0].what
    assert kit.verified(before).intact  # and unanchored: nobody else has seen it


def test_rewritten_by_the_holder_of_the_key_it_is_intact_without_anchors_and_no_witness_cosigns_it(
    kit: Any, witness: Any
) -> None:
    witness.know(kit.key)
    anchor = Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)
    log = kit.made(COUNT, anchors=[anchor])
    trusted = {"witnesses": (Witness(witness.url, witness.key).key,)}

    async def main() -> None:
        async with await kit.open(anchors=[anchor]) as again:
            await again.checkpoint(anchored=True)

    asyncio.run(main())
    records = kit.records(log)
    assert kit.verified(log, **trusted).unanchored <= 1
    records[300] = edited(records[300])
    kit.rewrite(log, records, kit.signer)
    assert "forked or rewritten between record" in kit.verified(log, **trusted).findings[-1].what  # its own anchors
    shutil.rmtree(log / "anchors")
    assert kit.verified(log, **trusted).intact and kit.verified(log, **trusted).anchored == []


def test_a_replayed_event_is_named(kit: Any, log: Path) -> None:
    records = kit.records(log)
    kit.rewrite(log, [*records, records[12]], kit.signer)
    found = kit.verified(log).findings
    assert [one.place for one in found] == [f"record {len(records)}"] and "record 12:" in found[0].what


def test_a_clock_that_was_set_back_is_named(kit: Any) -> None:
    log = kit.made(10)
    records = kit.records(log)
    late = [kit.event(100, at=2_000_000_000_000_000), kit.event(101, at=1_999_999_000_000_000)]
    kit.rewrite(log, [*records[1:], *late], kit.signer)
    report = kit.verified(log)
    assert report.intact and "1000.0 s before" in report.notices[0] and report.notices[0].startswith("record 11")


def test_a_clock_that_ran_ahead_of_the_witness_is_named(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    trusted = Witness(witness.url, witness.key)

    async def main() -> None:
        async with await kit.open(anchors=[Witnesses([trusted], quorum=1, every=0)]) as log:
            await log.append(kit.event(1, at=2_500_000_000_000_000))
            await log.checkpoint(anchored=True)

    asyncio.run(main())
    report = kit.verified(kit.folder / "log", witnesses=(trusted.key,))
    assert report.intact and any("the clock of its writer was ahead" in one for one in report.notices)

    async def again() -> None:
        async with await kit.open() as log:
            assert b"log.clock_moved" in b"".join(record for _, record in log.read(2))

    asyncio.run(again())


def test_a_clock_that_moves_while_the_log_is_written_is_put_on_record(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[bytes]:
        async with await kit.open(checkpoint_every=600) as log:
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() - 3600)
            await log.checkpoint()
            await log.checkpoint()
            return [record for _, record in log.read(1)]

    (moved,) = [parse_record(record) for record in asyncio.run(main())]
    assert moved["kind"] == "log.clock_moved" and abs(moved["by_us"] + 3_600_000_000) < 1_000_000


def test_an_exchanged_key_is_refused(kit: Any, log: Path) -> None:
    thief = LocalSigner.generate()
    kit.rewrite(log, kit.records(log), thief)
    report = kit.verified(log)
    assert report.findings[0].place == "'checkpoint'" and "no signature of" in report.findings[0].what
    with pytest.raises(NotSigned):
        asyncio.run(reopened(kit))
    with pytest.raises(NotSigned):
        asyncio.run(reopened(kit, signer=LocalSigner.generate()))


def test_a_rotation_that_the_key_in_effect_did_not_sign_is_refused(kit: Any, log: Path) -> None:
    thief = LocalSigner.generate()
    genuine = rotation(kit.key.name, kit.signer, LocalSigner.generate())
    records = kit.records(log)
    for forged in (
        rotation(kit.key.name, thief, thief) | {"old": str(kit.key)},
        rotation(kit.key.name, kit.signer, thief) | {"note": genuine["note"].replace("v1", "v2")},
        {"old": str(kit.key), "note": "x"},
        {},
    ):
        record = {"id": "x", "kind": "log.key_rotated", "at": kit.begin, **forged}
        kit.rewrite(log, [*records, encoded(record)], thief)
        report = kit.verified(log)
        assert not report.intact and any("it says that the log has another key" in one.what for one in report.findings)
    strange = [
        {"id": f"x{number}", "kind": "log.key_rotated", "at": kit.begin, **rotation(kit.key.name, old, thief)}
        for number, old in enumerate([kit.signer, LocalSigner.generate()])
    ]
    kit.rewrite(log, [*records, *map(encoded, strange)], thief)
    assert any("than the one in effect signed" in one.what for one in kit.verified(log).findings)


def test_a_retired_key_signs_nothing_any_more(kit: Any) -> None:
    new = LocalSigner.generate()

    async def main() -> None:
        async with await kit.open() as log:
            await log.append(kit.event(1))
            await log.rotate(new)
            await log.append(kit.event(2))

    asyncio.run(main())
    log = kit.folder / "log"
    for trusted in (kit.key, key_of(kit.key.name, new)):
        report = kit.verified(log, key=trusted)
        assert report.intact and report.key == key_of(kit.key.name, new).id.hex()
    stranger = key_of(kit.key.name, LocalSigner.generate())
    assert "none of the log's keys" in kit.verified(log, key=stranger).findings[0].what
    with pytest.raises(NotSigned):
        asyncio.run(reopened(kit))
    kit.rewrite(log, [*kit.records(log), kit.event(3)], kit.signer)
    assert not kit.verified(log).intact


def test_of_two_writers_the_second_is_refused_and_touches_nothing(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open() as log:
            await log.append(kit.event(1))
            before = {one: one.stat().st_mtime_ns for one in log.path.rglob("*") if one.name != "checkpoint"}
            with pytest.raises(LogBusy, match="has one writer"):
                await kit.open()
            assert all(one.stat().st_mtime_ns == before[one] for one in before)
            assert await log.append(kit.event(2)) == 2
        assert await reopened(kit) == 4

    asyncio.run(main())


def test_a_writer_whose_lock_was_deleted_stops_before_it_signs_anything(kit: Any) -> None:
    async def main() -> None:
        log = await kit.open(checkpoint_every=600)
        (log.path / "lock").unlink()
        async with await kit.open() as another:
            with pytest.raises(LogFailed, match="'lock' was deleted"):
                await log.checkpoint()
            with pytest.raises(LogFailed):
                await log.append(kit.event(1))
            with pytest.raises(LogFailed):
                await log.close()
            assert await another.append(kit.event(2)) == 2

    asyncio.run(main())
    assert kit.verified(kit.folder / "log").intact


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"x" * 70_000, b'{"at":1,"id":"1","kind":"k","x":1.5}', b'{"at":1,"id":"1","kind":"log.opened"}'],
)
def test_an_oversized_or_malformed_event_is_refused_before_it_is_written(kit: Any, data: bytes) -> None:
    async def main() -> None:
        async with await kit.open() as log:
            with pytest.raises(RecordRejected):
                await log.append(data)
            with pytest.raises(RecordRejected):
                log.post(data)
            assert log.size == 1

    asyncio.run(main())


def test_a_malformed_event_that_somebody_put_there_is_named(kit: Any, log: Path) -> None:
    kit.rewrite(log, [*kit.records(log), b'{"at":1,"id":"1","kind":"k","x":1.5}'], kit.signer)
    found = kit.verified(log).findings
    assert [one.place for one in found] == ["record 701"] and "no integer" in found[0].what


def test_a_witness_that_is_away_and_comes_back_is_put_on_record_and_misses_nothing(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    anchor = Witnesses([Witness(witness.url, witness.key, timeout=2)], quorum=1, every=0)

    async def main() -> list[bytes]:
        log: AuditLog
        async with await kit.open(anchors=[anchor], checkpoint_every=60) as log:
            await log.append(kit.event(1))
            await log.checkpoint(anchored=True)
            witness.stop()
            assert await log.append(kit.event(2)) > 1  # nobody waits for the witness who did not ask for it
            with pytest.raises(NotAnchored, match="did not answer"):
                await log.checkpoint(anchored=True)
            assert isinstance(log.trouble, NotAnchored)
            witness.start()
            note = await log.checkpoint(anchored=True)
            assert log.trouble is None and b"witness.test/w1" in note
            await log.checkpoint()
            return [record for _, record in log.read(0)]

    kinds = [b"log.not_anchored", b"log.anchored_again"]
    records = asyncio.run(main())
    assert [sum(kind in one for one in records) for kind in kinds] == [1, 1]
    report = kit.verified(kit.folder / "log", witnesses=(Witness(witness.url, witness.key).key,))
    assert report.intact and report.anchored[0].size >= 4


def test_segments_that_say_something_else_than_the_bundles_are_named(kit: Any, log: Path) -> None:
    other = Path(kit.made(COUNT, "other"))
    shutil.rmtree(log / "append")
    shutil.copytree(other / "append", log / "append")  # the records of the log itself have other ids and times
    assert kit.verified(log).findings[0].place == "record 0"
    with pytest.raises(LogDamaged):
        asyncio.run(reopened(kit))


def test_a_missing_checkpoint_is_named(kit: Any, log: Path) -> None:
    (log / "checkpoint").unlink()
    assert kit.verified(log).findings[0].place == "'checkpoint'"


def test_a_folder_that_is_no_log_is_said_to_be_none(kit: Any) -> None:
    for place in (kit.folder / "nowhere", kit.folder):
        with pytest.raises(AuditError, match="there is no audit log"):
            kit.verified(place)


def test_a_mirror_that_serves_tiles_only_is_verified_too(kit: Any, log: Path) -> None:
    shutil.rmtree(log / "append")
    assert kit.verified(log).intact and LogFiles(log).segments() == []
