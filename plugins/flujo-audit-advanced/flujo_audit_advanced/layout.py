"""Where tiles and bundles are: the paths of C2SP tlog-tiles, and the framing of records in a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flujo_audit_advanced.merkle import WIDTH

CHECKPOINT = "checkpoint"
ENTRIES = "entries"


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """The path of a tile, or of a bundle if the level is ``entries``: ``tile/0/x001/x234/067.p/8``."""
    parts = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03}")
    return f"tile/{level}/{'/'.join(reversed(parts))}" + (f".p/{width}" if width < WIDTH else "")


def tile_width(level: int, number: int, size: int) -> int:
    """How many hashes a tile has in the tree of a size: 0 to 256."""
    return max(0, min(WIDTH, (size >> 8 * level) - number * WIDTH))


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, number and width of every tile of the tree of a size."""
    level = 0
    while size >> 8 * level:
        for number in range(-(-(size >> 8 * level) // WIDTH)):
            yield level, number, tile_width(level, number, size)
        level += 1


def bundled(records: Iterable[bytes]) -> bytes:
    """Records as a bundle: each after its length in two bytes."""
    return b"".join([part for one in records for part in (len(one).to_bytes(2, "big"), one)])


def unbundled(data: bytes) -> list[bytes]:
    """The records of a bundle.

    Raises:
        ValueError: It ends in the midst of a record.
    """
    found, place, end = [], 0, len(data)
    while place < end:
        start = place + 2
        place = start + (data[place] << 8 | data[start - 1]) if start <= end else end + 1
        found.append(data[start:place])
    if place > end:
        raise ValueError("it ends in the midst of a record")
    return found
