"""What ``[plugins.flujo-audit-advanced]`` may say, and what it must not."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditPlugin, Rule
from flujo_audit_advanced.configured import recording_of
from flujo_audit_advanced.copies import WriteOnceCopy
from flujo_audit_advanced.rule import INTENTS, KINDS, Rules
from recording_kit import SIGNER, kinds

from flujo_core import ConfigurationError, Flujo, step

KEY = b64encode(bytes(range(32))).decode()


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A table that says what it must."""
    SIGNER.save(tmp_path / "audit.key")
    monkeypatch.setenv("FLUJO_AUDIT_DIGEST_KEY", KEY)
    return {"path": str(tmp_path / "log"), "key": str(tmp_path / "audit.key")}


def test_a_deployment_says_in_its_configuration_what_is_recorded(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flujo.toml").write_text(
        f"""
        [plugins]
        allow = ["flujo-audit-advanced"]

        [plugins.flujo-audit-advanced]
        path = "{table["path"]}"
        key = "{table["key"]}"
        copy = "{tmp_path / "copy"}"

        [[plugins.flujo-audit-advanced.rules]]
        kinds = ["step.attempted", "run.opened"]
        mode = "off"
        """
    )
    monkeypatch.chdir(tmp_path)

    @step
    async def shout(text: str) -> str:
        return text.upper()

    async def main() -> None:
        async with Flujo(shout) as flujo:
            await flujo.run_async("x")

    asyncio.run(main())
    assert kinds(tmp_path) == [
        "app.started", "run.started", "step.started", "step.completed", "run.ending", "run.ended",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"path": None}, "'path' of the audit is not right"),
        ({"colour": 1}, "'colour' of the audit is not right: extra inputs are not permitted"),
        ({"key": "/nowhere"}, "the key in '/nowhere' cannot be read"),
        ({"key": None}, "either 'key'"),
        ({"transit": {"url": "https://x", "key": "k"}}, "either 'key'"),
        ({"timeout": 0}, "'timeout' of the audit is not right"),
        ({"rules": [{"kinds": ["step.*"], "mode": "loud"}]}, "'rules.0.mode' of the audit is not right"),
        ({"rules": [{"kinds": ["stop.*"]}]}, "for 'stop.*', and there is no such kind"),
        ({"rules": [{"kinds": []}]}, "'rules.0.kinds' of the audit is not right"),
        ({"digest_key": "/nowhere"}, "the key in '/nowhere' cannot be read"),
        ({"stamps": {"url": "http://x", "roots": "/nowhere"}}, "the certificates in '/nowhere' cannot be read"),
        ({"witnesses": [{"url": "http://x", "key": "k"}]}, "key"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(table: dict[str, Any], change: dict[str, Any], why: str) -> None:
    told = {name: value for name, value in (table | change).items() if value is not None}
    with pytest.raises(Exception, match=why.replace("[", r"\[").replace("*", r"\*")) as refused:
        AuditPlugin().configure(told)
    assert type(refused.value).__module__.startswith("flujo")


@pytest.mark.parametrize("value", ["", "short", "not base64 !!", b64encode(b"x" * 31).decode()])
def test_without_a_key_for_digests_nothing_is_recorded(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_DIGEST_KEY", value)
    with pytest.raises(ConfigurationError, match="FLUJO_AUDIT_DIGEST_KEY") as refused:
        recording_of(table)
    assert value == "" or value not in str(refused.value)


def test_a_key_server_needs_a_token(table: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUJO_AUDIT_TRANSIT_TOKEN", raising=False)
    del table["key"]
    with pytest.raises(ConfigurationError, match="FLUJO_AUDIT_TRANSIT_TOKEN"):
        recording_of(table | {"transit": {"url": "https://bao.example", "key": "audit"}})


def test_the_environment_names_another_folder(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_PATH", str(tmp_path / "other"))
    assert recording_of(table).path == tmp_path / "other"


def test_a_copy_is_an_anchor(table: dict[str, Any], tmp_path: Path) -> None:
    (anchor,) = recording_of(table | {"copy": str(tmp_path / "copy")}).anchors
    assert isinstance(anchor, WriteOnceCopy)


def test_the_first_rule_that_matches_counts_and_what_is_begun_is_strict_unless_one_says_otherwise() -> None:
    rules = Rules([Rule(["step.started"], "off"), Rule(["step.*"], "strict", "metadata")])
    assert rules.of("step.started").mode == "off" and rules.of("step.completed") == (["step.*"], "strict", "metadata")
    assert rules.of("run.started") == (INTENTS, "strict", "digest") and rules.of("run.ended").mode == "batch"
    assert Rules().is_strict and not rules.is_strict and {*INTENTS} < KINDS


def test_a_list_of_kinds_is_not_a_text() -> None:
    with pytest.raises(ConfigurationError, match=r"is a list, such as \['step\.\*'\]"):
        Rules([Rule("step.*")])


def test_strict_rules_assure_a_regulated_deployment_of_a_strict_audit(table: dict[str, Any]) -> None:
    strict, loose = AuditPlugin(), AuditPlugin()
    strict.configure(table)
    assert strict.assures == ("strict-audit",) and loose.assures == ()
    loose.configure(table | {"rules": [{"kinds": ["step.started"], "mode": "batch"}]})
    assert loose.assures == ()
