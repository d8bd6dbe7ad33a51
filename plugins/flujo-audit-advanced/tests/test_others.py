"""Programs that we did not write verify our logs, and refuse the ones that were altered: Go's sumdb and aics-tlog."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditLog
from flujo_audit_advanced.files import LogFiles, TileHashes
from flujo_audit_advanced.merkle import consistency_proof, inclusion_proof, root_between

OTHERS = Path(__file__).with_name("others")
LOGS = 1000
LARGE = 66_000

Verifier = Callable[[Sequence[Path]], list[str]]


@pytest.fixture(scope="module")
def go(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program of ours, built with the packages that Go's own module downloads are verified with."""
    compiler, place = tool("go"), tmp_path_factory.mktemp("go")
    root = subprocess.run([compiler, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    for name in ("note", "tlog"):
        source = Path(root) / "src/cmd/vendor/golang.org/x/mod/sumdb" / name
        shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("*_test.go"))
    shutil.copy(OTHERS / "check.go", place / "main.go")
    (place / "go.mod").write_text("module check\n\ngo 1.24\n")
    environment = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run([compiler, "build", "-o", "check", "."], cwd=place, env=environment, check=True, timeout=280)
    return str(place / "check")


def asked(command: Sequence[str], logs: Sequence[Path]) -> list[str]:
    done = subprocess.run(
        command, input="\n".join(map(str, logs)) + "\n", capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = done.stdout.splitlines()
    assert len(found) == len(logs), done.stderr
    return found


@pytest.fixture
def verifiers(kit: Any, go: str, tool: Callable[[str], str]) -> list[Verifier]:
    """Go, aics-tlog, and us: each says "ok", or what is wrong, of each log."""
    aics = [str(Path(tool("aics-tlog")).with_name("python")), str(OTHERS / "check_aics.py"), str(kit.key)]

    def ours(logs: Sequence[Path]) -> list[str]:
        return ["ok" if kit.verified(log).intact else "refused" for log in logs]

    return [lambda logs: asked([go, str(kit.key)], logs), lambda logs: asked(aics, logs), ours]


async def generated(kit: Any, name: str, size: int, chance: random.Random) -> Path:
    """A log of a size, written in parts, with checkpoints between them; and proofs beside it."""
    log: AuditLog = await kit.open(name, durable=False, checkpoint_every=600)
    async with log:
        sizes = sorted(chance.randint(1, size) for _ in range(chance.randint(0, 3)))
        for number in range(1, size):
            log.post(kit.event(number, payload="é" * chance.randint(0, 40)))
            if number + 1 in sizes:
                await log.checkpoint()
    files = LogFiles(log.path)
    hashes = TileHashes(files, size)
    lines = [
        ["record", str(index), *map(coded, inclusion_proof(hashes, index, size))]
        for index in chance.sample(range(size), min(5, size))
    ]
    lines += [
        ["tree", str(old), coded(root_between(hashes, 0, old)), *map(coded, consistency_proof(hashes, old, size))]
        for old in {*sizes, size, 1}
    ]
    (log.path / "proofs").write_text("".join(" ".join(line) + "\n" for line in lines))
    return log.path


def coded(data: bytes) -> str:
    return b64encode(data).decode()


def sizes(chance: random.Random, count: int) -> list[int]:
    edges = [1, 2, 3, 255, 256, 257, 511, 512, 513, 1024]
    return [*edges, *(int(2 ** chance.uniform(0, 9)) for _ in range(count - len(edges)))]


def altered(log: Path, chance: random.Random) -> None:
    """Changes one bit of a file that the checkpoint is about, or of the checkpoint."""
    size = int((log / "checkpoint").read_text().split("\n")[1])
    files = [one for one in (log / "tile").rglob("*") if one.is_file() and _current(one, size)]
    path = chance.choice([*files, log / "checkpoint"])
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _current(path: Path, size: int) -> bool:
    """Whether a tile is of the newest checkpoint, and not a partial one of an earlier one."""
    if not path.parent.name.endswith(".p"):
        return True
    level = path.parents[1].name  # small logs have no folders within a level's
    return int(path.name) == (size >> 8 * int(level.replace("entries", "0"))) % 256


def test_go_and_aics_agree_with_us_on_1000_logs_and_refuse_altered_ones(kit: Any, verifiers: list[Verifier]) -> None:
    chance = random.Random(7)

    async def main() -> list[Path]:
        return [await generated(kit, f"log{n}", size, chance) for n, size in enumerate(sizes(chance, LOGS))]

    logs = asyncio.run(main())
    for verifier in verifiers:
        assert set(verifier(logs)) == {"ok"}
    changed = chance.sample(logs, 300)
    for log in changed:
        altered(log, chance)
    for verifier in verifiers:
        said = dict(zip(logs, verifier(logs), strict=True))
        assert [log for log in logs if said[log] == "ok"] == [log for log in logs if log not in set(changed)]


def test_go_and_aics_agree_with_us_on_a_log_of_three_levels(kit: Any, verifiers: list[Verifier]) -> None:
    chance = random.Random(8)
    log = asyncio.run(generated(kit, "large", LARGE, chance))
    assert (log / "tile/1/000").is_file() and (log / "tile/2/000.p/1").is_file()
    for verifier in verifiers:
        assert verifier([log]) == ["ok"]
    proofs = (log / "proofs").read_text()
    (log / "proofs").write_text(proofs.replace("record ", "record 1", 1))
    for verifier in verifiers[:2]:
        assert verifier([log]) != ["ok"]
    (log / "proofs").write_text(proofs)
    for name in ("tile/1/000", "tile/2/000.p/1", "tile/entries/100", "tile/0/200"):
        data = (log / name).read_bytes()
        (log / name).write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:])
        for verifier in verifiers:
            assert verifier([log]) != ["ok"], name
        (log / name).write_bytes(data)
