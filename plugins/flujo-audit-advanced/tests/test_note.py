"""Signed notes and checkpoints: the example of the specification, and what is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest
from flujo_audit_advanced import LocalSigner, NotSigned
from flujo_audit_advanced.checkpoint import Checkpoint, parse_checkpoint
from flujo_audit_advanced.merkle import EMPTY_ROOT
from flujo_audit_advanced.note import ED25519, Note, VerifierKey, signature_lines
from hypothesis import given
from hypothesis import strategies as st

# The example of c2sp.org/signed-note.
KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

# The example of c2sp.org/tlog-cosignature.
COSIGNED = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_example_of_the_specification_is_right() -> None:
    note = Note.parse(NOTE)
    note.check(VerifierKey.parse(KEY))
    assert note.text == "This is an example message.\n" and bytes(note) == NOTE
    assert str(VerifierKey.parse(KEY)) == KEY


@pytest.mark.parametrize(
    "bad",
    [
        NOTE.replace(b"example message", b"example  message"), NOTE.replace(b"Uw2QOkn8", b"Uw2QOkn9"),
        NOTE.replace(b"Uw2QOk", b"Uw2QOk\r"), NOTE[:-1], NOTE.replace(b"\n\n", b"\n"), b"", b"\n", NOTE + b"\n",
        NOTE.replace("—".encode(), b"-"), NOTE.replace(b"foo Uw2", b"foo  Uw2"), NOTE.replace(b"foo Uw2", b"f\xff Uw2"),
        NOTE.replace(b"an example", b"an\x00example"), NOTE.replace(b"foo Uw", b"foo+1 Uw"),
        NOTE.replace(b"aQM=", b"aQN="),
        NOTE.replace(b"example.com/foo Uw2", b"example.com/bar Uw2"), b"x\n\n" + NOTE.partition(b"\n\n")[2],
    ],
)  # fmt: skip
def test_a_note_that_is_not_right_is_refused(bad: bytes) -> None:
    with pytest.raises(NotSigned):
        Note.parse(bad).check(VerifierKey.parse(KEY))


@pytest.mark.parametrize(
    "bad",
    [
        "", "x", KEY[:-1], KEY.replace("530d903a", "530d903b"), KEY.replace("foo", "bar"), KEY.replace("+Aek", "+Bek"),
        KEY.replace("example.com/foo", ""), KEY + "=", KEY.replace("+", " "), KEY.replace("+AekyeRrm", "+AekyeRr!"),
    ],
)  # fmt: skip
def test_a_key_that_is_not_right_is_refused(bad: str) -> None:
    with pytest.raises(NotSigned):
        VerifierKey.parse(bad)


def test_signatures_of_others_are_passed_by_and_the_own_one_is_checked() -> None:
    first, second = LocalSigner.generate(), LocalSigner.generate()
    note = Note("text\n", ()).signed("a.test/1", first).signed("a.test/2", second)
    again = Note.parse(bytes(note))
    assert again == note
    again.check(VerifierKey("a.test/1", ED25519, first.public_key))
    again.check(VerifierKey("a.test/2", ED25519, second.public_key))
    with pytest.raises(NotSigned, match="no signature"):
        again.check(VerifierKey("a.test/1", ED25519, second.public_key))
    twice = again.adding([again.signatures[0]._replace(data=b"x" * 64)])
    with pytest.raises(NotSigned, match="not right"):
        twice.check(VerifierKey("a.test/1", ED25519, first.public_key))


def test_more_signatures_than_anybody_needs_are_refused() -> None:
    line = NOTE.partition(b"\n\n")[2]
    Note.parse(b"t\n\n" + line * 100)
    with pytest.raises(NotSigned, match="more than 100"):
        Note.parse(b"t\n\n" + line * 101)


@given(st.text(alphabet=st.characters(blacklist_categories=["Cc", "Cs"]), max_size=50))
def test_any_text_survives(text: str) -> None:
    signer = LocalSigner(bytes(32))
    note = Note(f"{text}\n", ()).signed("a.test", signer)
    Note.parse(bytes(note)).check(VerifierKey("a.test", ED25519, signer.public_key))


def test_a_checkpoint_says_origin_size_and_root() -> None:
    made = Checkpoint("a.test/log", 7, EMPTY_ROOT)
    note = Note(made.text, ()).signed("a.test/log", LocalSigner(bytes(32)))
    assert parse_checkpoint(bytes(note)) == (made, note)
    assert Checkpoint.parse(COSIGNED).size == 20852163
    assert Checkpoint.parse(COSIGNED + "more\n").extensions == ("more",)


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n", "a\n01\n" + b64encode(EMPTY_ROOT).decode() + "\n", "\n1\n" + b64encode(EMPTY_ROOT).decode() + "\n",
        "a\n-1\n" + b64encode(EMPTY_ROOT).decode() + "\n", "a\n1\nAAAA\n",
        "a\n1\n" + b64encode(EMPTY_ROOT).decode()[:-1],
        "a\n1_0\n" + b64encode(EMPTY_ROOT).decode() + "\n", "a\n1\n" + b64encode(EMPTY_ROOT).decode() + "\n\nx\n",
        "a\n\u0661\n" + b64encode(EMPTY_ROOT).decode() + "\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotSigned):
        Checkpoint.parse(text)


@pytest.mark.parametrize("text", ["", "x", "— name", "— name AAAA\nx", "- name AAAAAAAAAAAA"])
def test_lines_that_are_no_signatures_are_refused(text: str) -> None:
    with pytest.raises(NotSigned):
        signature_lines(text)
