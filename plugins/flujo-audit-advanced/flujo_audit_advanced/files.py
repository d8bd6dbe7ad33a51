"""The folder of a log: its files are read and written here, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from flujo_audit_advanced.errors import AuditError, LogDamaged
from flujo_audit_advanced.layout import CHECKPOINT, ENTRIES, bundled, tile_path, tile_width, unbundled
from flujo_audit_advanced.merkle import WIDTH, root_of

SYNCS: Final = 8
"""Files that are synced at once: the file system makes one commit of them."""


class LogFiles:
    """A log's folder.

    Args:
        path: The folder; it need not be there yet.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: set[Path] = set()

    def make(self) -> None:
        """Makes what is in every log's folder, durably."""
        for name in ("append", "tile", "anchors"):
            (self.path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.path, self.path.absolute().parent):
            sync_folder(folder)

    # reading

    def checkpoint(self) -> bytes | None:
        """The newest checkpoint; None if there is none."""
        return self.read(CHECKPOINT)

    def read(self, name: str) -> bytes | None:
        """A file of the folder; None if there is none of that name."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise AuditError(f"'{self.path / name}' cannot be read: {error.strerror}") from error

    def tile(self, level: int | str, number: int, width: int) -> bytes | None:
        """A tile's or bundle's bytes: of that width, or of the full one, which may have taken its place."""
        data = self.read(tile_path(level, number, width))
        return data if data is not None or width == WIDTH else self.read(tile_path(level, number))

    def hashes(self, level: int, number: int, width: int) -> list[bytes]:
        """The hashes of a tile.

        Raises:
            LogDamaged: It is not there, or too short.
        """
        data = self.tile(level, number, width)
        if data is None or len(data) < 32 * width or len(data) % 32:
            found = "it is missing" if data is None else f"it has {len(data):,} bytes, for {width} hashes"
            raise LogDamaged(f"'{tile_path(level, number, width)}'", found)
        return [data[place : place + 32] for place in range(0, 32 * width, 32)]

    def records(self, number: int, width: int) -> list[bytes]:
        """The records of a bundle.

        Raises:
            LogDamaged: It is not there, or not of so many records.
        """
        data = self.tile(ENTRIES, number, width)
        name = f"'{tile_path(ENTRIES, number, width)}'"
        if data is None:
            raise LogDamaged(name, "it is missing")
        try:
            found = unbundled(data)
        except ValueError as error:
            raise LogDamaged(name, str(error)) from None
        if len(found) not in (width, WIDTH):
            raise LogDamaged(name, f"it has {len(found)} records instead of {width}")
        return found[:width]

    def segments(self) -> list[Path]:
        """The segments, oldest first."""
        folder = self.path / "append"
        return sorted(one for one in folder.glob("*") if one.name.isdigit()) if folder.is_dir() else []

    def anchors(self) -> list[Path]:
        """The folders of anchored checkpoints, smallest first."""
        folder = self.path / "anchors"
        return sorted(one for one in folder.glob("*") if one.name.isdigit()) if folder.is_dir() else []

    # writing

    def replace(self, name: str, data: bytes, *, sync: bool = False) -> Path:
        """Writes a file whole or not at all, in the place of one that is there."""
        path = self.path / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        new = path.with_name(f"{path.name}.tmp")
        with new.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
        if sync:
            sync_folder(path.parent)
        return path

    def add_tile(self, level: int | str, number: int, data: bytes, width: int = WIDTH) -> Path:
        """Writes a tile or a bundle."""
        return self.replace(tile_path(level, number, width), data)

    def add_bundle(self, number: int, records: Iterable[bytes], width: int = WIDTH) -> Path:
        """Writes a bundle of records."""
        return self.add_tile(ENTRIES, number, bundled(records), width)

    def remove(self, paths: Iterable[Path]) -> None:
        """Deletes files, and folders of partial tiles that are then empty."""
        for path in paths:
            path.unlink(missing_ok=True)
            if path.parent.name.endswith(".p"):
                self._made.discard(path.parent)
                with suppress(OSError):  # others are in it
                    path.parent.rmdir()

    def sync(self, paths: Iterable[Path]) -> None:
        """Waits until files, and the folders that they are in, are on the disk."""
        files = list(paths)
        with ThreadPoolExecutor(SYNCS) as pool:
            list(pool.map(_sync_if_there, files))
            folders = {above for one in files for above in one.relative_to(self.path).parents}
            list(pool.map(_sync_if_there, [self.path / one for one in folders]))


class TileHashes:
    """The hashes of subtrees, from a log's tiles; for proofs from a tree of one size.

    Args:
        files: The log.
        size: The tree's size; its partial tiles must be there.
    """

    def __init__(self, files: LogFiles, size: int) -> None:
        self._files, self._size = files, size
        self._hashes = lru_cache(256)(self._read)

    def __call__(self, height: int, number: int) -> bytes:
        """The hash of the full subtree of ``2**height`` leaves with that number.

        Raises:
            LogDamaged: A tile is missing or too short.
        """
        level, inner = divmod(height, 8)
        first = number << inner
        tile, place = divmod(first, WIDTH)
        return root_of(self._hashes(level, tile)[place : place + (1 << inner)])

    def _read(self, level: int, number: int) -> list[bytes]:
        return self._files.hashes(level, number, tile_width(level, number, self._size))


def numbered(files: LogFiles, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The records of bundles, from a number to before another, with their numbers."""
    while start < end:
        number, place = divmod(start, WIDTH)
        width = min(WIDTH, end - number * WIDTH)
        for record in files.records(number, width)[place:]:
            yield start, record
            start += 1


def _sync_if_there(path: Path) -> None:
    """Syncs a file; one that is gone was a partial tile, and the full one is synced in its place."""
    with suppress(FileNotFoundError):
        sync_file(path)


def sync_file(path: Path) -> None:
    """Waits until a file is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    sync_file(path)
