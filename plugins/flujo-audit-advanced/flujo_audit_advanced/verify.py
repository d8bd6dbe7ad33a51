"""Verification of a log that needs nothing but its files and a public key: every record is hashed again.

First the tree is made anew from the records, and compared with the tiles, the checkpoint and all other claims. If it is
another than the signed one, the tiles that the signed root vouches for say which record is the first bad one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from flujo_audit_advanced.blame import first_bad
from flujo_audit_advanced.claims import Claim, Trust, anchors_of, check_signature, found_claims
from flujo_audit_advanced.contents import Contents
from flujo_audit_advanced.errors import AuditError, LogDamaged, NotSigned
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import KeyChain
from flujo_audit_advanced.layout import CHECKPOINT, tile_path
from flujo_audit_advanced.merkle import EMPTY_ROOT, WIDTH, Tree, leaf_hash, root_of
from flujo_audit_advanced.note import VerifierKey
from flujo_audit_advanced.recovery import read_segments
from flujo_audit_advanced.report import MOST_FINDINGS, Finding, Report


def verify_log(path: Path, trust: Trust) -> Report:
    """Verifies a log.

    Args:
        path: Its folder.
        trust: Whom to believe.

    Raises:
        AuditError: There is no log, or it cannot be read.
    """
    return Verification(LogFiles(path), trust).run()


class Verification:
    """One verification of one log.

    Args:
        files: The log.
        trust: Whom to believe.
    """

    def __init__(self, files: LogFiles, trust: Trust) -> None:
        self._files, self._trust = files, trust
        self._report = Report()
        self._claims: list[Claim] = []
        self._roots: dict[int, bytes] = {0: EMPTY_ROOT}
        self._tiles: list[bytes] = []
        self._altered: list[Finding] = []
        self._tree = Tree(self._compare)
        self._contents = Contents(files, self._report)

    def run(self) -> Report:
        """Does it."""
        if not self._files.path.is_dir():
            raise AuditError(f"there is no audit log in '{self._files.path}'")
        self._collect()
        newest = self._newest()
        size = newest.checkpoint.size if newest else 0
        self._read(size)
        if newest is not None:
            self._compare_root(newest)
            self._check_claims(newest)
        self._check_copies(min(size, self._tree.size))
        self._check_segments(size)
        report = self._report
        report.findings.sort(key=lambda one: one.number)
        del report.findings[MOST_FINDINGS:]
        report.anchored = _best(report.anchored)
        return report

    # claims

    def _collect(self) -> None:
        for one in found_claims(self._files, self._trust):
            if isinstance(one, Claim):
                self._claims.append(one)
            else:
                self._bad(0, one[0], str(one[1]))

    def _newest(self) -> Claim | None:
        newest = next((one for one in self._claims if one.place == f"'{CHECKPOINT}'"), None)
        if newest is not None:
            self._report.origin, self._report.size = newest.checkpoint.origin, newest.checkpoint.size
            self._report.root = newest.checkpoint.root.hex()
        elif self._files.checkpoint() is None:
            if self._claims or ((self._files.path / "tile").is_dir() and any((self._files.path / "tile").iterdir())):
                self._bad(0, f"'{CHECKPOINT}'", "it is missing")
            elif not self._files.segments():
                raise AuditError(f"there is no audit log in '{self._files.path}'")
        return newest

    def _check_claims(self, newest: Claim) -> None:
        keys = self._chain()
        for claim in self._claims:
            key = self._signed(claim, keys) if keys else None
            if claim is newest:
                self._report.key = key.id.hex() if key else None
            elif claim.checkpoint.size > newest.checkpoint.size:
                if keys is None or key is not None:
                    self._bad(
                        newest.checkpoint.size, f"'{CHECKPOINT}'",
                        f"it is of {newest.checkpoint.size} records, and {claim.place} is of "
                        f"{claim.checkpoint.size}: the log was cut off, or an older checkpoint was put back",
                    )  # fmt: skip
                continue
            elif self._root(claim) not in (None, claim.checkpoint.root):
                self._forked(claim, key)
                continue
            if (keys is None or key is not None) and self._root(claim) == claim.checkpoint.root:
                self._anchor(claim)

    def _chain(self) -> KeyChain | None:
        if self._trust.key is None:
            return None
        keys = KeyChain(self._trust.key)
        for one in self._contents.rotations:
            try:
                keys.add(one)
            except NotSigned as error:
                self._bad(one.number, f"record {one.number}", str(error))
                break
        return keys

    def _signed(self, claim: Claim, keys: KeyChain) -> VerifierKey | None:
        try:
            return check_signature(claim, keys, self._trust)
        except NotSigned as error:
            self._bad(0, claim.place, str(error))
            return None

    def _forked(self, claim: Claim, key: VerifierKey | None) -> None:
        good = max((size for size, _ in self._good_sizes() if size < claim.checkpoint.size), default=0)
        signed = "signed by the log's key" if key else "not checked"
        self._bad(
            claim.checkpoint.size - 1, claim.place,
            f"its {claim.checkpoint.size} records have another root ({signed}): the log was forked or rewritten "
            f"between record {good} and record {claim.checkpoint.size - 1}",
        )  # fmt: skip

    def _good_sizes(self) -> list[tuple[int, str]]:
        return [
            (one.checkpoint.size, one.place)
            for one in self._claims
            if self._root(one) == one.checkpoint.root and one.place != f"'{CHECKPOINT}'"
        ]

    def _root(self, claim: Claim) -> bytes | None:
        return self._roots.get(claim.checkpoint.size)

    def _anchor(self, claim: Claim) -> None:
        try:
            found = anchors_of(claim, self._trust)
        except NotSigned as error:
            self._bad(0, claim.place, str(error))
            return
        self._report.anchored += found
        self._report.notices += self._contents.ahead_of(found)

    # records

    def _read(self, size: int) -> None:
        """Makes the tree of a size anew from the records; stops where they end."""
        stops = sorted({one.checkpoint.size for one in self._claims if 0 < one.checkpoint.size <= size})
        for number in range(-(-size // WIDTH)):
            width = min(WIDTH, size - number * WIDTH)
            try:
                records = self._files.records(number, width)
            except LogDamaged as error:
                self._bad(number * WIDTH, error.place, str(error).partition(f"{error.place}: ")[2])
                return
            leaves = [leaf_hash(one) for one in records]
            self._tiles.append(root_of(leaves))
            self._grow(leaves, number * WIDTH, [one for one in stops if number * WIDTH < one <= number * WIDTH + width])
            self._contents.look(records, number * WIDTH)
        for level, number, data in self._tree.partial():
            self._compare(level, number, data)

    def _grow(self, leaves: Sequence[bytes], first: int, stops: Sequence[int]) -> None:
        for start, end in pairwise([first, *stops, first + len(leaves)]):
            self._tree.add(leaves[start - first : end - first])
            if end in stops:
                self._roots[end] = self._tree.root()

    def _compare(self, level: int, number: int, data: bytes) -> None:
        """Compares a tile with what it should be."""
        width = len(data) // 32
        found = self._files.tile(level, number, width)
        if found is None or found[: len(data)] != data or len(found) % 32:
            name = tile_path(level, number, width)
            what = "it is missing" if found is None else "it is not what the records say"
            self._altered.append(Finding((number * WIDTH) << 8 * level, f"'{name}'", what))

    def _compare_root(self, newest: Claim) -> None:
        size = newest.checkpoint.size
        if self._tree.size == size and self._tree.root() == newest.checkpoint.root:
            self._report.findings += self._altered
            return
        found = first_bad(self._files, newest.checkpoint, self._tiles)
        if found is not None:
            self._report.findings.insert(0, found)
        elif self._tree.size == size:
            good = max((one for one, _ in self._good_sizes()), default=0)
            self._bad(
                good, f"'{CHECKPOINT}'",
                f"records and tiles agree, and their root is not the signed one: all of the tree from record {good} on "
                "may have been rewritten" if not self._altered else
                f"neither records nor tiles have the signed root; the first that disagree: {self._altered[0].place}",
            )  # fmt: skip

    # copies and segments

    def _check_copies(self, size: int) -> None:
        """Compares the full bundles with those of write-once copies."""
        for copy in self._trust.copies:
            other = LogFiles(copy)
            for number in range(size // WIDTH):
                try:
                    theirs = other.records(number, WIDTH)
                except LogDamaged:
                    continue  # it was not copied yet; how far the copy goes, its checkpoints say
                if root_of([leaf_hash(one) for one in theirs]) != self._tiles[number]:
                    ours = self._files.records(number, WIDTH)
                    place = next(i for i in range(WIDTH) if ours[i] != theirs[i]) + number * WIDTH
                    self._bad(place, f"record {place}", f"the copy '{copy}' has another")
                    break

    def _check_segments(self, size: int) -> None:
        if not self._files.segments():
            return  # a mirror, which serves tiles only
        try:
            kept = read_segments(self._files)
        except LogDamaged as error:
            self._bad(size, error.place, str(error).partition(f"{error.place}: ")[2])
            return
        except FileNotFoundError:
            self._report.notices.append(
                "a segment was removed meanwhile: a writer is at work; the tail was not looked at"
            )
            return
        end = kept.first + len(kept.records)
        self._report.unsealed = max(0, end - max(size, kept.first))
        for one in kept.trimmed:
            self._report.notices.append(
                f"the segments end with {len(one.data)} bytes that are unfinished: a writer is at work, or has died"
            )
        if end < size:
            self._bad(end, "'append'", f"the segments end at record {end}, before the checkpoint's {size}")
        self._compare_sealed(kept.first, kept.records, min(size, self._tree.size))

    def _compare_sealed(self, first: int, records: Sequence[bytes], size: int) -> None:
        """What the segments have beside the bundles must be the same."""
        start = -(-first // WIDTH) * WIDTH
        for number in range(start // WIDTH, -(-size // WIDTH)):
            width = min(WIDTH, size - number * WIDTH)
            ours = records[number * WIDTH - first :][:width]
            if len(ours) == width and root_of([leaf_hash(one) for one in ours]) != self._tiles[number]:
                place = number * WIDTH
                theirs = self._files.records(number, width)
                place += next(i for i in range(width) if ours[i] != theirs[i])
                self._bad(place, f"record {place}", "the segments have another than the bundles")
                return

    def _bad(self, index: int, place: str, what: str) -> None:
        self._report.findings.append(Finding(index, place, what))


def _best(anchored: Sequence[Any]) -> list[Any]:
    """For each anchor, the most that it has seen; the most first."""
    found = {}
    for one in sorted(anchored, key=lambda each: each.size):
        found[one.by] = one
    return sorted(found.values(), key=lambda each: -each.size)
