"""Verifies logs with aics-tlog: like check.go, for a Python of 3.12 or later that has it."""

import base64
import sys
from pathlib import Path

from aics_tlog import (
    FileSystemTileReader,
    audit_tiles,
    leaf_hash,
    parse_note,
    parse_vkey,
    read_entry,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)


def check(folder: Path, key: str) -> str:
    vkey = parse_vkey(key)
    found = verify_checkpoint(parse_note((folder / "checkpoint").read_bytes()), vkey, expected_origin=vkey.name)
    if not found.ok:
        return found.error or "refused"
    reader = FileSystemTileReader(folder)
    audit_tiles(reader, found.size, found.root)
    for line in (folder / "proofs").read_text().splitlines():
        what, number, *coded = line.split()
        hashes = [base64.b64decode(one) for one in coded]
        if what == "record":
            leaf = leaf_hash(read_entry(reader, int(number), found.size))
            good = verify_inclusion(leaf, int(number), found.size, hashes, found.root)
        else:
            good = verify_consistency(int(number), found.size, hashes[0], found.root, hashes[1:])
        if not good:
            return f"the proof of {what} {number} is wrong"
    return "ok"


for line in sys.stdin:
    try:
        print(check(Path(line.strip()), sys.argv[1]))
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "))
