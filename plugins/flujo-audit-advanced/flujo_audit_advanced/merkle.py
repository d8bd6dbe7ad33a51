"""The tree: hashes, roots and proofs of RFC 6962, section 2.1; pure, and knowing no files.

Refused beyond a literal reading of the RFC, as by transparency-dev/merkle: a consistency proof from an empty tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

WIDTH: Final = 256
"""Hashes in a full tile, and records in a full bundle (C2SP tlog-tiles)."""

EMPTY_ROOT: Final = sha256().digest()
"""The root of a tree without records."""

FullTile = Callable[[int, int, bytes], None]


def leaf_hash(record: bytes) -> bytes:
    """The hash of a record: SHA-256 of a zero byte and the record."""
    return sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of equal subtrees, of which the last may be smaller than the others."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [sha256(b"\1" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)] + odd
    return row[0]


class Tree:
    """The right edge of a growing tree: of each level of tiles, the hashes of the tile that is not full.

    Args:
        full: Called with level, number and bytes of each tile when it is full.

    Attributes:
        size: How many leaves were added.
        levels: For each level, the hashes of its last tile: none to 255.
    """

    def __init__(self, full: FullTile) -> None:
        self._full = full
        self.size = 0
        self.levels: list[list[bytes]] = []

    @classmethod
    def grown(cls, full: FullTile, size: int, levels: list[list[bytes]]) -> Tree:
        """A tree that has leaves already, whose full tiles are elsewhere."""
        made = cls(full)
        made.size, made.levels = size, levels
        return made

    def add(self, leaves: Sequence[bytes]) -> None:
        """Adds hashes of records."""
        place = 0
        while place < len(leaves):
            room = WIDTH - self.size % WIDTH
            part = leaves[place : place + room]
            self.size += len(part)
            self._add(0, part)
            place += len(part)

    def _add(self, level: int, hashes: Sequence[bytes]) -> None:
        if level == len(self.levels):
            self.levels.append([])
        row = self.levels[level]
        row += hashes
        if len(row) == WIDTH:
            self._full(level, (self.size >> 8 * (level + 1)) - 1, b"".join(row))
            parent = root_of(row)
            row.clear()
            self._add(level + 1, (parent,))

    def root(self) -> bytes:
        """The root over all leaves."""
        edge: list[bytes] = []
        for row in self.levels:
            if row or edge:
                edge = [root_of(row + edge)]
        return edge[0] if edge else EMPTY_ROOT

    def partial(self) -> Iterator[tuple[int, int, bytes]]:
        """Level, number and bytes of the tiles that are not full."""
        for level, row in enumerate(self.levels):
            if row:
                yield level, self.size >> 8 * (level + 1), b"".join(row)


Aligned = Callable[[int, int], bytes]
"""Gives the hash of the subtree of ``2**height`` leaves with a number, counted in such subtrees."""


def root_between(aligned: Aligned, start: int, end: int) -> bytes:
    """The root over the leaves from ``start`` to before ``end``; ``start`` is one where RFC 6962 splits."""
    count = end - start
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return aligned(height, start >> height)
    middle = start + _split(count)
    return node_hash(root_between(aligned, start, middle), root_between(aligned, middle, end))


def inclusion_proof(aligned: Aligned, index: int, size: int) -> list[bytes]:
    """The proof that the tree of a size has a leaf at an index: PATH(m, D[n])."""
    return _path(aligned, index, 0, size)


def consistency_proof(aligned: Aligned, old: int, size: int) -> list[bytes]:
    """The proof that the tree of a size begins with the tree of an older size: PROOF(m, D[n])."""
    return [] if old in (0, size) else _subproof(aligned, old, 0, size, True)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that the tree with a root has a leaf at an index (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    first, last, found = index, size - 1, leaf
    for one in proof:
        if last == 0:
            return False
        if first % 2 or first == last:
            found = node_hash(one, found)
            while not first % 2 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, one)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that one tree begins with another, which has leaves (RFC 9162, 2.1.4.2)."""
    if old == size:
        return old > 0 and not proof and old_root == root
    if not 0 < old < size or not _hashes(old_root, root, *proof):
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, size - 1
    while first % 2:
        first, last = first >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if first % 2 or first == last:
            before, after = node_hash(one, before), node_hash(one, after)
            while not first % 2 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, one)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old_root and after == root


def _split(count: int) -> int:
    """The largest power of two that is less than a count."""
    return 1 << (count - 1).bit_length() - 1


def _path(aligned: Aligned, index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(aligned, index, start, middle), root_between(aligned, middle, end)]
    return [*_path(aligned, index, middle, end), root_between(aligned, start, middle)]


def _subproof(aligned: Aligned, old: int, start: int, end: int, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [root_between(aligned, start, end)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(aligned, old, start, middle, whole), root_between(aligned, middle, end)]
    return [*_subproof(aligned, old, middle, end, False), root_between(aligned, start, middle)]


def _hashes(*found: bytes) -> bool:
    return all(len(one) == sha256().digest_size for one in found)
