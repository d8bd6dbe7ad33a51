"""Who signs: a key in a file, and one that never leaves a real OpenBao server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from flujo_audit_advanced import LocalSigner, SignerUnavailable, TransitSigner, key_of
from flujo_audit_advanced.note import Note

from flujo_core import ConfigurationError

TOKEN = "s3cret-t0ken"


class Server:
    """A development server of OpenBao with a transit engine.

    Attributes:
        url: Where it is.
    """

    def __init__(self, program: str, port: int, home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        arguments = ["server", "-dev", f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
        self._process = subprocess.Popen(
            [program, *arguments], env=os.environ | {"HOME": str(home)}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._wait()
        self.ask("sys/mounts/transit", {"type": "transit"})
        self.ask("transit/keys/audit", {"type": "ed25519"})
        self.ask("transit/keys/other", {"type": "aes256-gcm96"})

    def ask(self, path: str, data: dict[str, Any]) -> None:
        request = Request(f"{self.url}/v1/{path}", json.dumps(data).encode(), {"X-Vault-Token": TOKEN}, method="POST")
        with urlopen(request, timeout=10) as answer:
            answer.read()

    def stop(self) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait(20)

    def _wait(self) -> None:
        for _ in range(300):
            try:
                with urlopen(f"{self.url}/v1/sys/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("OpenBao does not answer")


@pytest.fixture
def bao(tool: Callable[[str], str], port: int, tmp_path: Path) -> Iterator[Server]:
    made = Server(tool("bao"), port, tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_a_key_that_never_leaves_openbao_signs_a_log_and_may_be_rotated(kit: Any, bao: Server) -> None:
    signer = TransitSigner(bao.url, "audit", TOKEN)

    async def main() -> TransitSigner:
        async with await kit.open(signer=signer) as log:
            await log.append(kit.event(1))
            bao.ask("transit/keys/audit/rotate", {})
            await log.checkpoint()  # still the version that the log began with
            new = TransitSigner(bao.url, "audit", TOKEN)
            assert (signer.version, new.version) == (1, 2) and new.public_key != signer.public_key
            await log.rotate(new)
            await log.append(kit.event(2))
            return new

    new = asyncio.run(main())
    for one in (signer, new):
        assert kit.verified(kit.folder / "log", key=key_of(kit.key.name, one)).intact
    assert TransitSigner(bao.url, "audit", TOKEN, version=1).public_key == signer.public_key
    assert TOKEN not in repr(signer)
    refusals = [
        ("audit", "wr0ng", None, "refused the key"), ("none", TOKEN, None, "refused the key"),
        ("other", TOKEN, None, "type 'ed25519'"), ("audit", TOKEN, 7, "no version 7"),
    ]  # fmt: skip
    for name, token, version, why in refusals:
        with pytest.raises(SignerUnavailable, match=why) as caught:
            TransitSigner(bao.url, name, token, version=version)
        assert token not in str(caught.value)


def test_while_the_key_server_is_away_records_are_taken_and_sealed_when_it_is_back(
    kit: Any, tool: Callable[[str], str], port: int, tmp_path: Path
) -> None:
    away = kit.signer

    class Away:
        """A signer whose server can be away."""

        public_key = away.public_key
        there = True

        def sign(self, message: bytes, /) -> bytes:
            if not self.there:
                raise SignerUnavailable("the key server did not answer")
            return away.sign(message)

    signer = Away()

    async def main() -> None:
        async with await kit.open(signer=signer, checkpoint_every=0.02) as log:
            signer.there = False
            assert await log.append(kit.event(1)) == 1
            with pytest.raises(SignerUnavailable):
                await log.checkpoint()
            for _ in range(200):
                if log.trouble is not None:
                    break
                await asyncio.sleep(0.02)
            assert isinstance(log.trouble, SignerUnavailable) and log.sealed < 2
            signer.there = True
            await log.checkpoint()
            assert log.sealed == 2

    asyncio.run(main())
    assert kit.verified(kit.folder / "log").intact


def test_a_server_that_is_not_there_is_said_to_be_away(port: int) -> None:
    with pytest.raises(SignerUnavailable, match="did not answer"):
        TransitSigner(f"http://127.0.0.1:{port}", "audit", TOKEN, timeout=2)
    with pytest.raises(ConfigurationError, match="begins with neither"):
        TransitSigner("file:///etc/passwd", "audit", TOKEN)


def test_a_key_in_a_file_is_its_owners_and_signs_as_before(tmp_path: Path) -> None:
    signer, path = LocalSigner.generate(), tmp_path / "key"
    signer.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = LocalSigner.from_file(path)
    assert again.public_key == signer.public_key
    Note("t\n", ()).signed("a.test", again).check(key_of("a.test", signer))
    with pytest.raises(FileExistsError):
        signer.save(path)
    assert path.read_text().strip() not in repr(signer)
    path.write_text("not a key")
    with pytest.raises(ConfigurationError, match="is not one that 'flujo audit key' made"):
        LocalSigner.from_file(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        LocalSigner.from_file(tmp_path / "none")
