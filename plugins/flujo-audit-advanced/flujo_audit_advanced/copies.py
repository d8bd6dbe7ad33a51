"""Write-once copies: full tiles, bundles and checkpoints, put where nothing can be changed any more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from flujo_audit_advanced.anchor import Evidence, Sealed
from flujo_audit_advanced.checkpoint import parse_checkpoint
from flujo_audit_advanced.errors import Contradicted, NotAnchored
from flujo_audit_advanced.files import TileHashes, sync_folder
from flujo_audit_advanced.layout import ENTRIES, tile_path
from flujo_audit_advanced.merkle import EMPTY_ROOT, WIDTH, root_between


class WriteOnce(Protocol):
    """A place in which what was put is not changed: a folder on such a disk, a bucket with a lock."""

    def put(self, name: str, data: bytes, /) -> None:
        """Puts a file there; does nothing if it is there with the same content.

        Raises:
            Contradicted: It is there with another content.
            NotAnchored: It could not be put.
        """

    def get(self, name: str, /) -> bytes | None:
        """A file; None if it is not there.

        Raises:
            NotAnchored: It cannot be read.
        """

    def newest(self) -> str | None:
        """The highest name in ``checkpoints/``; None if there is none.

        Raises:
            NotAnchored: It cannot be told.
        """


class FolderTarget:
    """A folder, best on a disk that lets nobody change a file: its files are made once, and read-only.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def put(self, name: str, data: bytes, /) -> None:
        try:
            self._put(self._path / name, data)
        except FileExistsError:
            if self.get(name) != data:
                raise Contradicted(
                    f"the write-once copy has another '{name}' than the log: the log was rewritten; keep both, and look"
                ) from None
        except OSError as error:
            raise NotAnchored(f"the write-once copy could not be written ({error.strerror})") from None

    def _put(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.tmp")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)  # which, unlike renaming, replaces nothing
        finally:
            new.unlink()
        sync_folder(path.parent)

    def get(self, name: str, /) -> bytes | None:
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotAnchored(f"the write-once copy could not be read ({error.strerror})") from None

    def newest(self) -> str | None:
        names = [one.name for one in (self._path / "checkpoints").glob("*") if one.name.isdigit()]
        return f"checkpoints/{max(names)}" if names else None


class WriteOnceCopy:
    """Copies what is full and a checkpoint; an anchor of a log.

    Args:
        target: Where to.
        every: Seconds between two copies.
        name: How it is called in messages.
    """

    def __init__(self, target: WriteOnce, *, every: float = 60.0, name: str = "copy") -> None:
        self.name, self.every = name, every
        self._target = target

    def anchor(self, sealed: Sealed, /) -> Evidence:
        """Copies what came since the last checkpoint that was copied, if the log still begins with that."""
        done = self._copied(sealed)
        level = 0
        while sealed.checkpoint.size >> 8 * (level + 1):
            for number in range(done >> 8 * (level + 1), sealed.checkpoint.size >> 8 * (level + 1)):
                self._copy(sealed, level, number)
                if level == 0:
                    self._copy(sealed, ENTRIES, number)
            level += 1
        self._target.put(f"checkpoints/{sealed.checkpoint.size:020}", bytes(sealed.note))
        return Evidence()

    def _copied(self, sealed: Sealed) -> int:
        """The size of the newest checkpoint that was copied, with which the log must begin."""
        name = self._target.newest()
        data = self._target.get(name) if name else None
        if data is None:
            return 0
        old, _ = parse_checkpoint(data)
        if old.size > sealed.checkpoint.size or _root(sealed, old.size) != old.root:
            raise Contradicted(
                f"the write-once copy has a checkpoint of {old.size} records that the log does not begin with: it was "
                "cut off or rewritten; keep both, and look"
            )
        return old.size

    def _copy(self, sealed: Sealed, level: int | str, number: int) -> None:
        name = tile_path(level, number)
        data = sealed.files.tile(level, number, WIDTH)
        if data is None:
            raise NotAnchored(f"'{name}' is missing in the log")
        self._target.put(name, data)


def _root(sealed: Sealed, size: int) -> bytes:
    return root_between(TileHashes(sealed.files, sealed.checkpoint.size), 0, size) if size else EMPTY_ROOT
