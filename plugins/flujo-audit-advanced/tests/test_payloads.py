"""Payloads can be erased, for good, and the log still proves what was on record."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditError, AuditPlugin, Rule, verify_log
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.cli import app
from flujo_audit_advanced.digest import Digester
from flujo_audit_advanced.erasure import counted, standings
from flujo_audit_advanced.errors import PayloadErased
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.payloads import Payloads
from recording_kit import DIGEST_KEY, SIGNER, bytes_of, recorded, recording
from typer.testing import CliRunner

from flujo_core import ConfigurationError, Flujo, step

KEY = bytes(range(32))
FULL = Rule(["run.*", "step.*"], "strict", "full")
WHO = "Anna Novakova"


@step
async def shout(text: str) -> str:
    return text.upper()


def told(folder: Path) -> Any:
    return recording(folder, FULL, payload_key=KEY)


def runs(folder: Path, *subjects: str | None) -> None:
    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(told(folder))], store=f"sqlite:///{folder}/r.db") as flujo:
            for number, subject in enumerate(subjects):
                await flujo.run_async(f"{WHO} {number}", run_id=f"r{number}", subject=subject)

    asyncio.run(main())


def payloads(folder: Path, key: bytes | None = KEY) -> Payloads:
    return Payloads(folder / "log", key, Digester(DIGEST_KEY))


def fates(folder: Path) -> dict[str, int]:
    return counted(standings(folder / "log", payloads(folder)))


def erased(folder: Path, **what: Any) -> int:
    async def main() -> int:
        plugin = AuditPlugin(told(folder))
        async with Flujo(shout, plugins=[plugin]):
            return await plugin.erase(**what)

    return asyncio.run(main())


def intact(folder: Path) -> bool:
    return verify_log(folder / "log", Trust(key=key_of("flujo.local/audit", SIGNER))).intact


def test_values_that_a_rule_wants_in_full_are_kept_encrypted_and_can_be_read(tmp_path: Path) -> None:
    runs(tmp_path, "patient-1")
    found = [one for one in standings(tmp_path / "log", payloads(tmp_path)) if one.name == "input"]
    assert found and all(json.loads(one.data or b"") == f"{WHO} 0" for one in found)
    assert b"Novak" not in bytes_of(tmp_path) and KEY not in bytes_of(tmp_path)
    assert "hmac" not in json.dumps([one for one in recorded(tmp_path) if one["kind"] == "step.started"])


def test_what_is_erased_is_gone_for_good_and_the_log_still_verifies(tmp_path: Path) -> None:
    runs(tmp_path, "patient-1", "patient-2", None)
    before = fates(tmp_path)
    kept = {path: path.read_bytes() for path in (tmp_path / "log" / "payloads").rglob("*") if path.is_file()}
    assert erased(tmp_path, subject="patient-1") == 1 and erased(tmp_path, subject="patient-1") == 0
    after = fates(tmp_path)
    assert after["erased"] == before["kept"] // 3 and after["kept"] == before["kept"] - after["erased"]
    gone = [path for path in kept if not path.exists()]
    assert len(gone) == after["erased"] + 1 and intact(tmp_path)
    keys = [one["kind"] for one in recorded(tmp_path) if one["kind"].startswith("payload.")]
    assert keys == ["payload.erasing", "payload.erased"]
    one = next(one for one in standings(tmp_path / "log", payloads(tmp_path)) if one.fate == "erased")
    told = recorded(tmp_path)
    assert one.data is None and any("payload" in record.get(one.name, {}) for record in told)
    assert erased(tmp_path, run="r2") == 1 and fates(tmp_path)["erased"] == 2 * after["erased"]


def test_a_payload_that_is_put_back_without_its_key_stays_erased(tmp_path: Path) -> None:
    runs(tmp_path, "patient-1")
    kept = {path: path.read_bytes() for path in (tmp_path / "log" / "payloads").rglob("*") if path.is_file()}
    erased(tmp_path, subject="patient-1")
    for path, data in kept.items():
        if path.name != "key":
            path.write_bytes(data)
    assert set(fates(tmp_path)) == {"erased"}


def test_a_payload_that_is_gone_without_a_word_or_was_changed_is_told(tmp_path: Path) -> None:
    runs(tmp_path, "patient-1", "patient-2")
    groups = sorted((tmp_path / "log" / "payloads").iterdir())
    (groups[0] / "key").unlink()
    changed = next(path for path in groups[1].iterdir() if path.name != "key")
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    found = fates(tmp_path)
    assert found["missing"] > 0 and found["altered"] == 1
    swapped = [path for path in groups[1].iterdir() if path.name != "key"][:2]
    swapped[0].write_bytes(swapped[1].read_bytes())
    assert fates(tmp_path)["altered"] >= 1


def test_with_another_key_nothing_can_be_read(tmp_path: Path) -> None:
    runs(tmp_path, "patient-1")
    found = counted(standings(tmp_path / "log", payloads(tmp_path, bytes(32))))
    assert set(found) == {"altered"}
    with pytest.raises(AuditError, match="there is no key for the payloads"):
        asyncio.run(payloads(tmp_path, None).put(b"x", run="r", subject=None))


def test_the_digest_of_what_was_erased_cannot_be_found_by_trying(tmp_path: Path) -> None:
    kept = payloads(tmp_path)
    first, second = (asyncio.run(kept.put(b"yes", run=run, subject=None)) for run in "ab")
    assert first["digest"] != second["digest"] and kept.read(first) == b"yes"
    assert kept.erase(str(first["group"]))
    with pytest.raises(PayloadErased):
        kept.read(first)


def test_a_payload_that_cannot_be_kept_is_no_record_and_the_step_does_not_start(tmp_path: Path) -> None:
    from flujo_core import RunRefused  # noqa: PLC0415

    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(told(tmp_path))]) as flujo:
            (tmp_path / "log" / "payloads").write_text("no folder")
            with pytest.raises(RunRefused, match="could not be put on record"):
                await flujo.run_async(WHO)

    asyncio.run(main())
    assert "step.started" not in [one["kind"] for one in recorded(tmp_path)]


def test_a_rule_that_keeps_values_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no key for payloads"):
        AuditPlugin(recording(tmp_path, FULL))
    with pytest.raises(ConfigurationError, match="has 3 bytes; it needs 32"):
        AuditPlugin(recording(tmp_path, FULL, payload_key=b"abc"))


def test_the_commands_show_and_erase_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, "patient-1", None)
    monkeypatch.setenv("FLUJO_AUDIT_DIGEST_KEY", b64encode(DIGEST_KEY).decode())
    monkeypatch.setenv("FLUJO_AUDIT_PAYLOAD_KEY", b64encode(KEY).decode())
    SIGNER.save(tmp_path / "audit.key")
    log, runner = str(tmp_path / "log"), CliRunner()
    shown = runner.invoke(app, ["payloads", log, "--values"])
    assert shown.exit_code == 0 and f"{WHO} 0" in shown.output
    for what, said in ((["--subject", "patient-1"], "are erased"), (["--run", "r9"], "no such payloads")):
        done = runner.invoke(app, ["erase", log, "--key", str(tmp_path / "audit.key"), *what])
        assert done.exit_code == 0 and said in done.output
    assert json.loads(runner.invoke(app, ["payloads", log]).output)["erased"] > 0
    assert os.environ["FLUJO_AUDIT_PAYLOAD_KEY"] not in shown.output and intact(tmp_path)
    missing = runner.invoke(app, ["erase", str(tmp_path / "none"), "--key", str(tmp_path / "audit.key"), "--run", "x"])
    assert missing.exit_code == 2 and not (tmp_path / "none").exists()
