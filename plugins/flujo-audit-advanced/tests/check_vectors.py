"""Checks the cases of others: ``python check_vectors.py FOLDER``.

The folder has merkle_proofs.json and signed_note_and_hasher.json: transparency-dev/merkle's test data and the example
of C2SP signed-note, in hex, which are not of this repository. Ends with 0 if every case is as it says.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

from flujo_audit_advanced import NotSigned, VerifierKey
from flujo_audit_advanced.checkpoint import parse_checkpoint
from flujo_audit_advanced.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from flujo_audit_advanced.note import Note


def proofs(found: dict[str, Any]) -> int:
    """The cases of proofs that are not as they should be."""
    wrong = 0
    for case in found["inclusion"]:
        root, leaf, *proof = map(bytes.fromhex, [case["root"], case["leaf_hash"], *case["proof"]])
        wrong += verify_inclusion(case["leaf_index"], case["tree_size"], leaf, proof, root) != case["valid"]
    for case in found["consistency"]:
        old, new, *proof = map(bytes.fromhex, [case["root1"], case["root2"], *case["proof"]])
        wrong += verify_consistency(case["size1"], case["size2"], old, new, proof) != case["valid"]
    return wrong


def notes(found: dict[str, Any]) -> int:
    """The cases of notes and hashes that are not as they should be."""
    wrong = 0
    for case in found["cases"]:
        try:
            Note.parse(case["note"].encode()).check(VerifierKey.parse(case["vkey"]))
            wrong += not case["valid"]
        except NotSigned:
            wrong += case["valid"]
    known = found["rfc6962_hasher"]
    ours = [EMPTY_ROOT, leaf_hash(b""), leaf_hash(b"L123456"), node_hash(b"N123", b"N456")]
    wrong += [one.hex() for one in ours] != list(known.values())
    return wrong + large(found["go_verified_70000_leaf_log"])


def large(log: dict[str, Any]) -> int:
    """The log of 70,000 records that Go has verified: its roots, proofs and note are ours too."""
    leaves = [leaf_hash(b'{"kind":"step.completed","seq":%d}' % number) for number in range(log["n"])]
    old, new = Tree(lambda *_: None), Tree(lambda *_: None)
    old.add(leaves[: log["m"]])
    new.add(leaves)

    def aligned(height: int, number: int) -> bytes:
        return root_of(leaves[number << height : (number + 1) << height])

    note = parse_checkpoint(log["note"].encode())
    note[1].check(VerifierKey.parse(log["vkey"]))
    incl = [b64decode(one) for one in log["incl"]]
    return sum(
        [
            old.root() != b64decode(log["r1"]),
            new.root() != b64decode(log["r2"]),
            leaves[log["i"]] != b64decode(log["leaf"]),
            consistency_proof(aligned, log["m"], log["n"]) != [b64decode(one) for one in log["cons"]],
            not verify_inclusion(log["i"], log["n"], leaves[log["i"]], incl, new.root()),
            (note[0].size, note[0].root) != (log["n"], new.root()),
        ]
    )


def main(folder: Path) -> int:
    read = [json.loads((folder / name).read_bytes()) for name in ("merkle_proofs.json", "signed_note_and_hasher.json")]
    wrong = proofs(read[0]) + notes(read[1])
    cases = len(read[0]["inclusion"]) + len(read[0]["consistency"]) + len(read[1]["cases"])
    print(f"{cases} cases and the log of 70,000 records: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
