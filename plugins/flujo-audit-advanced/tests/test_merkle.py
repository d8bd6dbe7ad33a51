"""Hashes, roots and proofs against a plain reading of RFC 6962, and against every way of getting a proof wrong."""

from __future__ import annotations

from hashlib import sha256

import pytest
from flujo_audit_advanced.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_between,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LEAVES = [leaf_hash(str(number).encode()) for number in range(600)]


def plain_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, as it is written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


def aligned(height: int, number: int) -> bytes:
    return plain_root(LEAVES[number << height : (number + 1) << height])


def grown(size: int) -> Tree:
    tree = Tree(lambda *_: None)
    tree.add(LEAVES[:size])
    return tree


def test_the_known_hashes_of_rfc_6962_are_ours() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 512, 513, 600])
def test_the_root_is_that_of_the_rfc(size: int) -> None:
    assert grown(size).root() == plain_root(LEAVES[:size]) == root_of(LEAVES[:size])
    if size:
        assert root_between(aligned, 0, size) == plain_root(LEAVES[:size])


@given(st.lists(st.integers(1, 300), max_size=6))
@settings(max_examples=50, deadline=None)
def test_in_whatever_parts_leaves_are_added_the_tree_is_the_same(parts: list[int]) -> None:
    tiles: list[tuple[int, int, bytes]] = []
    tree, place = Tree(lambda *tile: tiles.append(tile)), 0
    for count in parts:
        tree.add(LEAVES[place : place + count])
        place = min(place + count, len(LEAVES))
    assert tree.size == place and tree.root() == plain_root(LEAVES[:place])
    full = [b"".join(LEAVES[n * 256 : (n + 1) * 256]) for n in range(place // 256)]
    assert tiles == [(0, number, data) for number, data in enumerate(full)]
    partial = dict(((level, number), data) for level, number, data in tree.partial())
    assert partial.get((0, place // 256), b"") == b"".join(LEAVES[place // 256 * 256 : place])


@pytest.mark.parametrize("size", range(1, 34))
def test_every_leaf_of_every_small_tree_is_proved(size: int) -> None:
    root = plain_root(LEAVES[:size])
    for index in range(size):
        proof = inclusion_proof(aligned, index, size)
        assert verify_inclusion(index, size, LEAVES[index], proof, root)
        for other in range(-1, size + 2):
            assert other == index or not verify_inclusion(other, size, LEAVES[index], proof, root)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_small_tree_is_proved_to_begin_with_every_smaller_one(size: int) -> None:
    root = plain_root(LEAVES[:size])
    for old in range(1, size + 1):
        before, proof = plain_root(LEAVES[:old]), consistency_proof(aligned, old, size)
        assert verify_consistency(old, size, before, root, proof)
        assert verify_consistency(old, size, root, before, proof) == (old == size)


def broken(proof: list[bytes], root: bytes) -> list[list[bytes]]:
    """Each way in which transparency-dev/merkle breaks a proof: bits, additions, omissions, order, lengths."""
    found = [[*proof, b""], [b"", *proof], [*proof, root], [root, *proof], [*proof, *proof] or [root], [b"\0" * 32]]
    found += [proof[:place] + proof[place + 1 :] for place in range(len(proof))]
    found += [
        [*proof[:place], bytes([proof[place][0] ^ 1]) + proof[place][1:], *proof[place + 1 :]]
        for place in range(len(proof))
    ]
    found += [[*proof[:place], proof[place][:31], *proof[place + 1 :]] for place in range(len(proof))]
    found += [proof[::-1], proof[:1], proof[1:], []]
    return [one for one in found if one != proof]


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 8), (5, 8), (2, 3), (1, 5), (6, 7), (300, 600)])
def test_no_broken_inclusion_proof_is_taken(index: int, size: int) -> None:
    root, leaf = plain_root(LEAVES[:size]), LEAVES[index]
    proof = inclusion_proof(aligned, index, size)
    for one in broken(proof, root):
        assert not verify_inclusion(index, size, leaf, one, root)
    for wrong in (sha256(b"wrong").digest(), EMPTY_ROOT, b"", root[:31], root + b"\0"):
        assert not verify_inclusion(index, size, leaf, proof, wrong)
        assert not verify_inclusion(index, size, wrong, proof, root)
    for other in (0, index, size - 1, size * 2, 2**40):
        assert other == size or not verify_inclusion(index, other, leaf, proof, root) or _same_shape(index, other, size)


def _same_shape(index: int, other: int, size: int) -> bool:
    """RFC 9162's check of inclusion does not see the tree's size where the leaf's path is the same in both."""
    return [len(inclusion_proof(lambda *_: b"", index, one)) for one in (other,)] == [
        len(inclusion_proof(lambda *_: b"", index, size))
    ]


@pytest.mark.parametrize(
    ("old", "size"), [(1, 1), (1, 8), (6, 8), (2, 5), (6, 7), (4, 8), (7, 8), (300, 600), (256, 600)]
)
def test_no_broken_consistency_proof_is_taken(old: int, size: int) -> None:
    before, root = plain_root(LEAVES[:old]), plain_root(LEAVES[:size])
    proof = consistency_proof(aligned, old, size)
    for one in broken(proof, root):
        assert not verify_consistency(old, size, before, root, one)
    for wrong in (sha256(b"wrong").digest(), EMPTY_ROOT, b"", root[:31]):
        assert not verify_consistency(old, size, wrong, root, proof)
        assert not verify_consistency(old, size, before, wrong, proof)
    assert old == size or not verify_consistency(size, old, root, before, proof)


@pytest.mark.parametrize("proof", [[], [EMPTY_ROOT]])
def test_nothing_is_proved_of_an_empty_tree(proof: list[bytes]) -> None:
    root = plain_root(LEAVES[:8])
    assert not verify_consistency(0, 8, EMPTY_ROOT, root, proof)
    assert not verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, proof)
    assert not verify_inclusion(0, 0, LEAVES[0], proof, EMPTY_ROOT)
