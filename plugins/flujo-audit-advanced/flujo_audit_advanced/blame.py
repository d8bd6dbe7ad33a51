"""Where a tree that is not the signed one differs from it: found from the signed root downwards, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.errors import LogDamaged
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.layout import tile_path, tile_width
from flujo_audit_advanced.merkle import WIDTH, leaf_hash, root_of
from flujo_audit_advanced.report import Finding


def first_bad(files: LogFiles, checkpoint: Checkpoint, bundles: Sequence[bytes]) -> Finding | None:
    """The first record or tile that is not what the signed root vouches for; None if the tiles do not tell.

    Args:
        files: The log.
        checkpoint: The signed tree.
        bundles: For each bundle that could be read, the root over its records.
    """
    try:
        edge = _edge(files, checkpoint.size)
    except LogDamaged:
        return None
    if _root(edge) != checkpoint.root:
        return _unvouched(files, checkpoint.size, bundles)
    return _vouched(files, checkpoint.size, edge, bundles)


def _edge(files: LogFiles, size: int) -> list[list[bytes]]:
    """For each level, the hashes of its last tile, if that is not full."""
    rows: list[list[bytes]] = []
    while size >> 8 * len(rows):
        level = len(rows)
        number = size >> 8 * (level + 1)
        width = tile_width(level, number, size)
        rows.append(files.hashes(level, number, width) if width else [])
    return rows


def _root(edge: Sequence[Sequence[bytes]]) -> bytes:
    found: list[bytes] = []
    for row in edge:
        if row or found:
            found = [root_of([*row, *found])]
    return found[0]


def _vouched(files: LogFiles, size: int, edge: Sequence[Sequence[bytes]], bundles: Sequence[bytes]) -> Finding | None:
    """From the edge, which the signed root vouches for, downwards: each hash vouches for the tile below it."""
    level = len(edge) - 1
    known: dict[int, bytes] = {}
    found: list[Finding] = []
    while level >= 0:
        number = size >> 8 * (level + 1)
        hashes = dict(enumerate(edge[level], number * WIDTH))
        for one, expected in sorted(known.items()):
            row = _tile(files, level, one)
            if root_of(row) == expected:
                hashes |= dict(enumerate(row, one * WIDTH))
            elif level:
                index = (one * WIDTH) << 8 * level
                found.append(Finding(index, f"'{tile_path(level, one)}'", "it is not what the tile above it says"))
        if level == 0:
            found += _bundle(files, size, hashes, known, bundles)
        known, level = hashes, level - 1
    return min(found, default=None)


def _bundle(
    files: LogFiles, size: int, leaves: Mapping[int, bytes], known: Mapping[int, bytes], bundles: Sequence[bytes]
) -> list[Finding]:
    """The first bundle whose records are not those that are vouched for."""
    for number, root in enumerate(bundles):
        start = number * WIDTH
        width = min(WIDTH, size - start)
        row = [leaves[start + place] for place in range(width) if start + place in leaves]
        if len(row) == width:
            if root_of(row) != root:
                return [_differing(files, number, row, "it is not the one that was signed")]
        elif known.get(number, root) != root:
            last = start + width - 1
            what = (
                f"it and its records were changed: one of the records {start} to {last} is not the one that was signed"
            )
            return [Finding(start, f"'{tile_path(0, number)}'", what)]
    return []


def _unvouched(files: LogFiles, size: int, bundles: Sequence[bytes]) -> Finding | None:
    """Without anybody vouching: the first record that its own tile contradicts."""
    for number, root in enumerate(bundles):
        width = min(WIDTH, size - number * WIDTH)
        row = _tile(files, 0, number, width)
        if row and root_of(row) != root:
            return _differing(files, number, row, "it is not what its tile says, and nothing has the signed root")
    return None


def _differing(files: LogFiles, number: int, row: Sequence[bytes], what: str) -> Finding:
    records = files.records(number, len(row))
    place = next(place for place, one in enumerate(records) if leaf_hash(one) != row[place]) + number * WIDTH
    return Finding(place, f"record {place}", what)


def _tile(files: LogFiles, level: int, number: int, width: int = WIDTH) -> list[bytes]:
    try:
        return files.hashes(level, number, width)
    except LogDamaged:
        return []
