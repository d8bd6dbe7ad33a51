"""Witnesses with a quorum, timestamps of a real authority (OpenSSL), write-once copies."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import (
    Contradicted,
    Evidence,
    FolderTarget,
    LocalSigner,
    NotAnchored,
    NotSigned,
    Sealed,
    StampAuthority,
    Witness,
    Witnesses,
    WriteOnceCopy,
    key_of,
    prove,
)
from flujo_audit_advanced.note import COSIGNATURE, ED25519, VerifierKey
from flujo_audit_advanced.stamp import certificates

from flujo_core import ConfigurationError

CONFIG = """
[ tsa ]
default_tsa = here
[ here ]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
[ stamping ]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
[ authority ]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[ req ]
distinguished_name = name
[ name ]
"""


class Authority:
    """An authority for timestamps: OpenSSL's, behind HTTP.

    Attributes:
        url: Where it takes requests.
        root: Its root certificate, as PEM.
        broken: Whether it answers with something else.
    """

    def __init__(self, openssl: str, folder: Path) -> None:
        self._openssl, self._folder = openssl, folder
        self._config = folder / "openssl.cnf"
        self._config.write_text(CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._make()
        self.root, self.broken = (folder / "ca.pem").read_bytes(), False
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer = authority.stamp(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"nonsense" if authority.broken else answer)

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], cwd=self._folder, capture_output=True, check=True)

    def _make(self) -> None:
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", str(self._config)]
        self._run("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-days", "9",
                  "-extensions", "authority")  # fmt: skip
        self._run("req", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test TSA")
        self._run("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                  "-set_serial", "2", "-days", "9", "-out", "tsa.pem", "-extfile", str(self._config),
                  "-extensions", "stamping")  # fmt: skip

    def stamp(self, query: bytes) -> bytes:
        """The answer to a request."""
        (self._folder / "query").write_bytes(query)
        self._run("ts", "-reply", "-config", str(self._config), "-queryfile", "query", "-out", "reply")
        return (self._folder / "reply").read_bytes()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def authority(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Authority]:
    pytest.importorskip("rfc3161_client")
    made = Authority(tool("openssl"), tmp_path)
    try:
        yield made
    finally:
        made.stop()


def anchored(kit: Any, anchor: Any, name: str = "log") -> bytes:
    async def main() -> bytes:
        async with await kit.open(name, anchors=[anchor]) as log:
            await log.append(kit.event(1))
            note: bytes = await log.checkpoint(anchored=True)
            return note

    return asyncio.run(main())


def test_a_stamp_of_openssl_anchors_the_log_and_openssl_verifies_it(
    kit: Any, authority: Authority, tmp_path: Path
) -> None:
    note = anchored(kit, StampAuthority(authority.url, authority.root, name="here", every=0))
    log = kit.folder / "log"
    report = kit.verified(log, authorities=tuple(certificates(authority.root)))
    assert report.intact and report.anchored[0].by == "stamp 'here'" and report.anchored[0].at is not None
    (stamp,) = (log / "anchors").glob("*2/stamp-here.tsr")
    (tmp_path / "text").write_bytes(note.partition(b"\n\n")[0] + b"\n")
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-in", stamp, "-data", tmp_path / "text", "-CAfile", tmp_path / "ca.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_stamp_of_something_else_is_named(kit: Any, authority: Authority) -> None:
    trusted = {"authorities": tuple(certificates(authority.root))}
    anchored(kit, StampAuthority(authority.url, authority.root, name="here", every=0))
    anchored(kit, StampAuthority(authority.url, authority.root, name="here", every=0), "other")
    (mine,) = (kit.folder / "log/anchors").glob("*2/stamp-here.tsr")
    (theirs,) = (kit.folder / "other/anchors").glob("*2/stamp-here.tsr")
    for data in (theirs.read_bytes(), mine.read_bytes()[:-3], b"nonsense"):
        mine.write_bytes(data)
        assert "the stamp is not right" in kit.verified(kit.folder / "log", **trusted).findings[0].what


def test_an_authority_that_gives_no_stamp_leaves_the_log_unanchored(
    kit: Any, authority: Authority, port: int, tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    other = Authority("openssl", strange)
    try:
        with pytest.raises(NotAnchored, match="no stamp that can be used"):
            anchored(kit, StampAuthority(authority.url, other.root, every=0))
    finally:
        other.stop()
    authority.broken = True
    with pytest.raises(NotAnchored, match="no stamp that can be used"):
        anchored(kit, StampAuthority(authority.url, authority.root, every=0))
    with pytest.raises(NotAnchored, match="did not answer"):
        anchored(kit, StampAuthority(f"http://127.0.0.1:{port}", authority.root, every=0, timeout=2))
    with pytest.raises(ConfigurationError, match="PEM"):
        StampAuthority(authority.url, b"nonsense")
    with pytest.raises(ConfigurationError, match="name"):
        StampAuthority(authority.url, authority.root, name="../x")


def test_a_quorum_of_witnesses_has_to_cosign(kit: Any, witness: Any, another_witness: Any, port: int) -> None:
    witness.know(kit.key)
    another_witness.know(kit.key)
    both = [Witness(one.url, one.key) for one in (witness, another_witness)]
    away = Witness(
        f"http://127.0.0.1:{port}", str(VerifierKey("away.test", COSIGNATURE, LocalSigner.generate().public_key))
    )
    note = anchored(kit, Witnesses([*both, away], quorum=2, every=0))
    keys = tuple(one.key for one in both)
    assert all(one.name.encode() in note for one in keys)
    log = kit.folder / "log"
    assert kit.verified(log, witnesses=keys, quorum=2).unanchored == 0
    assert kit.verified(log, witnesses=(keys[0], away.key), quorum=2).anchored == []
    assert kit.verified(log, witnesses=(keys[0], away.key), quorum=1).unanchored == 0
    with pytest.raises(NotAnchored, match="2 of the 3 witnesses"):
        anchored(kit, Witnesses([*both, away], quorum=3, every=0))
    with pytest.raises(ConfigurationError, match="cannot be had"):
        Witnesses([both[0], both[0]], quorum=2)
    with pytest.raises(ConfigurationError, match="not one of a cosigner"):
        Witness(witness.url, str(kit.key))


def test_a_proof_carries_the_cosignatures_of_its_checkpoint(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    trusted = Witness(witness.url, witness.key)
    note = anchored(kit, Witnesses([trusted], quorum=1, every=0))
    (kit.folder / "log/checkpoint").write_bytes(note)
    proof = prove(kit.folder / "log", 1)
    proof.check(kit.event(1), kit.key, [trusted.key], quorum=1)
    stranger = VerifierKey("other.test", COSIGNATURE, LocalSigner.generate().public_key)
    with pytest.raises(NotSigned, match="1 of the witnesses"):
        proof.check(kit.event(1), kit.key, [trusted.key, stranger], quorum=2)
    with pytest.raises(NotSigned, match="no signature of"):
        proof.check(kit.event(1), VerifierKey("other.test", ED25519, kit.key.key))


def test_a_cosignature_that_was_changed_is_named(kit: Any, witness: Any) -> None:
    witness.know(kit.key)
    trusted = Witness(witness.url, witness.key)
    anchored(kit, Witnesses([trusted], quorum=1, every=0))
    folder = max((kit.folder / "log/anchors").iterdir())
    kept = folder / "checkpoint"
    lines = kept.read_text().splitlines()
    lines[-1] = lines[-1][:-8] + ("A" if lines[-1][-8] != "A" else "B") + lines[-1][-7:]
    kept.write_text("\n".join(lines) + "\n")
    found = kit.verified(kit.folder / "log", witnesses=(trusted.key,)).findings
    assert found and "witness.test/w1" in found[0].what


def test_a_witness_that_does_not_know_the_log_says_so(kit: Any, witness: Any) -> None:
    with pytest.raises(NotAnchored, match="does not know the log"):
        anchored(kit, Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0))
    witness.know(key_of(kit.key.name, LocalSigner.generate()))
    with pytest.raises(NotAnchored, match="does not know the log's key"):
        anchored(kit, Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0))


def test_the_witness_itself_keeps_the_newest_checkpoint_for_the_auditor(
    kit: Any, witness: Any, fetched: Callable[[str], bytes]
) -> None:
    witness.know(kit.key)
    anchored(kit, Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0))
    kept = fetched(f"{witness.url}/{sha256(kit.key.name.encode()).hexdigest()}/checkpoint")
    report = kit.verified(kit.folder / "log", seen=[("the witness", kept)])
    assert report.intact and report.anchored[0].by == "seen 'the witness'" and report.anchored[0].size == 2


def test_a_copy_has_each_full_tile_once_and_does_not_change(kit: Any) -> None:
    copy = kit.folder / "copy"
    anchor = WriteOnceCopy(FolderTarget(copy), every=0)
    kit.made(600, anchors=[anchor])
    anchored(kit, anchor)
    names = {str(one.relative_to(copy)) for one in copy.rglob("*") if one.is_file() and "checkpoints" not in one.parts}
    assert names == {"tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"}
    for name in names:
        assert (copy / name).read_bytes() == (kit.folder / "log" / name).read_bytes()
        assert (copy / name).stat().st_mode & 0o222 == 0
    FolderTarget(copy).put("tile/0/000", (copy / "tile/0/000").read_bytes())
    with pytest.raises(Contradicted, match="has another 'tile/0/000'"):
        FolderTarget(copy).put("tile/0/000", b"other")
    (kit.folder / "file").write_text("")
    with pytest.raises(NotAnchored, match="could not be"):
        FolderTarget(kit.folder / "file").put("x", b"")


def test_of_many_anchored_checkpoints_the_newest_are_kept(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flujo_audit_advanced.anchoring.MOST_KEPT", 3)

    async def main() -> None:
        async with await kit.open(anchors=[WriteOnceCopy(FolderTarget(kit.folder / "copy"), every=0)]) as log:
            for number in range(6):
                await log.append(kit.event(number))
                await log.checkpoint(anchored=True)

    asyncio.run(main())
    kept = sorted(int(one.name) for one in (kit.folder / "log/anchors").iterdir())
    assert len(kept) == 3 and kept[-1] == 7
    assert len(list((kit.folder / "copy/checkpoints").iterdir())) >= 6


def test_a_log_without_anchors_says_so_and_one_that_raises_does_not_stop_the_others(kit: Any) -> None:
    class Broken:
        """An anchor with a mistake in it."""

        name, every = "broken", 0.0

        def anchor(self, sealed: Sealed, /) -> Evidence:
            raise ZeroDivisionError

    async def main() -> None:
        async with await kit.open() as log:
            with pytest.raises(NotAnchored, match="has no anchors"):
                await log.checkpoint(anchored=True)
        copy = WriteOnceCopy(FolderTarget(kit.folder / "copy"), every=0)
        async with await kit.open(anchors=[Broken(), copy]) as log:
            with pytest.raises(ZeroDivisionError):
                await log.checkpoint(anchored=True)
            assert isinstance(log.trouble, ZeroDivisionError)
            assert await log.append(kit.event(1)) > 1

    asyncio.run(main())
    assert kit.verified(kit.folder / "log", copies=(kit.folder / "copy",)).anchored[0].size >= 2


def test_an_anchor_that_hangs_keeps_nobody_waiting(kit: Any) -> None:
    gate = threading.Event()

    class Hanging:
        """An anchor that does not answer."""

        name, every = "hanging", 0.0

        def anchor(self, sealed: Sealed, /) -> Evidence:
            gate.wait(20)
            return Evidence()

    async def main() -> None:
        log = await kit.open(anchors=[Hanging()], checkpoint_every=0.01)
        for number in range(50):
            await log.append(kit.event(number))
        await log.checkpoint()
        assert log.sealed > 50
        gate.set()
        await log.close()

    asyncio.run(main())


def test_keys_of_witnesses_that_are_none_are_refused() -> None:
    with pytest.raises(NotSigned):
        Witness("http://localhost", "nonsense")
    key = str(VerifierKey("w.test", COSIGNATURE, LocalSigner.generate().public_key))
    with pytest.raises(ConfigurationError, match="begins with neither"):
        Witness("ftp://localhost", key)
