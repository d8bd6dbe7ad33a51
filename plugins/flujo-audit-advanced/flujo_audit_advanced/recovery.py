"""Opening a log: what is there is read and checked, and what a dying process left unfinished is put in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.errors import LogDamaged
from flujo_audit_advanced.files import LogFiles, sync_file, sync_folder
from flujo_audit_advanced.inbox import Item
from flujo_audit_advanced.layout import CHECKPOINT
from flujo_audit_advanced.merkle import WIDTH, Tree, leaf_hash, root_of
from flujo_audit_advanced.segment import SegmentWriter, read_segment
from flujo_audit_advanced.writer import State, batches


class Trimmed(NamedTuple):
    """Bytes that were taken off a segment; none of them were ever acknowledged.

    Attributes:
        file: Where they are now, relative to the log's folder.
        data: The bytes.
    """

    file: str
    data: bytes

    def as_fields(self) -> dict[str, str | int]:
        """What the log says of them."""
        return {"file": self.file, "bytes": len(self.data), "sha256": sha256(self.data).hexdigest()}


class Kept(NamedTuple):
    """What the segments have.

    Attributes:
        first: The number of their first record.
        records: The records, without gaps.
        trimmed: What is to be taken off the last one.
        newest: The highest serial number that was ever used.
    """

    first: int
    records: list[bytes]
    trimmed: list[Trimmed]
    newest: int


def read_segments(files: LogFiles) -> Kept:
    """Reads the segments, the newer in the place of the older.

    Raises:
        LogDamaged: There is a gap, or a bad batch that is no torn end.
    """
    first, records, trimmed = 0, [], []
    paths = files.segments()
    for path in paths:
        found = read_segment(path)
        last = path == paths[-1]
        if found is None:
            if not last:
                raise LogDamaged(f"'append/{path.name}'", "it is too short to be a segment, and newer ones follow it")
            trimmed.append(Trimmed(f"trimmed/{path.name}-0", path.read_bytes()))
        elif path == paths[0] or found.first <= first:
            first, records, trimmed = found.first, found.records, []
        elif found.first != first + len(records):
            raise LogDamaged(
                f"'append/{path.name}'", f"it begins with record {found.first}, after record {first + len(records) - 1}"
            )
        elif trimmed:
            raise LogDamaged(f"record {found.first}", "the batch before it is bad, and newer ones follow it")
        else:
            records += found.records
        if found is not None and found.rest:
            trimmed.append(Trimmed(f"trimmed/{path.name}-{found.end}", found.rest))
    return Kept(first, records, trimmed, int(paths[-1].name) if paths else 0)


def recovered(files: LogFiles, checkpoint: Checkpoint | None, kept: Kept) -> State:
    """What the log's writer begins with; the segments are replaced by one that is synced.

    Args:
        files: The log's folder.
        checkpoint: Its newest checkpoint.
        kept: What its segments have.

    Raises:
        LogDamaged: The tree is not the one that the checkpoint says.
    """
    tiles: list[tuple[int, int, bytes]] = []
    base = kept.first - kept.first % WIDTH
    before = files.records(base // WIDTH, WIDTH)[: kept.first - base] if kept.first > base else []
    tail = before + kept.records
    tree = Tree.grown(lambda *tile: tiles.append(tile), base, list(_levels(files, base)))
    _grow(tree, [leaf_hash(one) for one in tail], checkpoint)
    _set_aside(files, kept.trimmed)
    return State(tree, tiles, tail, _renewed(files, kept))


def _levels(files: LogFiles, size: int) -> Iterator[list[bytes]]:
    """The right edge of the tree of a size, made from its full tiles; a size that full bundles have."""
    level = 0
    while size >> 8 * level:
        width, first = (size >> 8 * level) % WIDTH, (size >> 8 * (level + 1)) * WIDTH
        yield [root_of(files.hashes(level - 1, first + place, WIDTH)) for place in range(width)] if level else []
        level += 1


def _grow(tree: Tree, leaves: list[bytes], checkpoint: Checkpoint | None) -> None:
    sealed, base = checkpoint.size if checkpoint else 0, tree.size
    end = base + len(leaves)
    if sealed > end:
        raise LogDamaged(f"record {end}", f"the checkpoint is of {sealed} records, and only {end} are there")
    if sealed < base:
        raise LogDamaged(
            f"'{CHECKPOINT}'", f"it is of {sealed} records, and {base} were sealed: it is an older one, or missing"
        )
    tree.add(leaves[: sealed - base])
    if checkpoint and tree.root() != checkpoint.root:
        raise LogDamaged(
            f"'{CHECKPOINT}'",
            f"the tree of its {sealed} records has another root than it says; 'flujo audit verify' finds out where",
        )
    tree.add(leaves[sealed - base :])


def _set_aside(files: LogFiles, trimmed: list[Trimmed]) -> None:
    for one in trimmed:
        files.replace(one.file, one.data, sync=True)
    if trimmed:
        sync_folder(files.path)


def _renewed(files: LogFiles, kept: Kept) -> SegmentWriter:
    """One segment with all that the segments had; when it is on the disk, they are deleted."""
    old = files.segments()
    path = files.path / "append" / f"{kept.newest + 1:020}"
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    made = SegmentWriter(new, kept.first)
    for batch in batches([Item(record, None) for record in kept.records]):
        made.write([item.record for item in batch])
    sync_file(new)
    os.rename(new, path)
    made.path = path
    sync_folder(path.parent)
    files.remove(old)
    return made
