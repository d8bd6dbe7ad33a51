"""Faults of the vault, its file and its key: a typed error, no call of a model, never another's value."""

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flujo_deidentifier import (
    Action,
    DeidentificationError,
    Deidentifier,
    DeidentifierKeyMissing,
    DeidentifierPlugin,
    Profile,
    Scope,
    SqliteVaultStore,
    Vault,
    VaultCorrupted,
    VaultFailed,
)
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import ConfigurationError, Flujo, FlujoError, RunFailed, Step

KEY = b"k" * 32
NAMES = ["Ann Lee", "Bo Ek", "Cy Dow"]
SCOPE = Scope("conversation-1", "acme", "patient-7")
TEXT = "I am John Smith, SSN 536-22-8726."


@pytest.fixture(autouse=True)
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of these tests are the instances that they give."""
    monkeypatch.setenv("FLUJO_DISABLE", "flujo-deidentifier")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault.db"


@pytest.fixture
def ids(path: Path) -> list[str]:
    """The ids of names that a vault has, which is closed again."""
    store = SqliteVaultStore(path)
    tokens = Vault(store, key=KEY).remember(SCOPE, [("PERSON", name) for name in NAMES])
    store.close()
    return [token[8:-1] for token in tokens]


def recalled(path: Path, ids: list[str]) -> list[str | None] | FlujoError:
    """What a vault says now."""
    store = SqliteVaultStore(path, timeout=0.1)
    try:
        found = Vault(store, key=KEY).recall(SCOPE, ids)
    except FlujoError as error:
        return error
    finally:
        store.close()
    return [found[one].value if one in found else None for one in ids]


def flips(size: int) -> Iterator[tuple[int, int]]:
    yield from ((start, min(16, size - start)) for start in range(0, size, 16))


def test_a_file_with_any_bytes_changed_gives_what_it_had_nothing_or_an_error(path: Path, ids: list[str]) -> None:
    whole, kinds = path.read_bytes(), set()
    for start, length in flips(len(whole)):
        for mask in (0x01, 0xFF):
            changed = bytearray(whole)
            changed[start : start + length] = bytes(one ^ mask for one in changed[start : start + length])
            path.write_bytes(changed)
            for beside in path.parent.glob("vault.db-*"):
                beside.unlink()
            said = recalled(path, ids)
            kinds.add(type(said))
            if isinstance(said, list):
                assert all(one in (None, name) for one, name in zip(said, NAMES, strict=True))
            else:
                assert isinstance(said, VaultCorrupted | VaultFailed)
                assert not any(name in f"{said!r} {said.__context__!r} {said.__cause__!r}" for name in NAMES)
    assert kinds == {list, VaultCorrupted, VaultFailed}


COLUMNS: dict[str, Any] = {
    "id": "aaaaaaaaaaaa", "kind": "PHONE", "subject": "0" * 32, "sealed": b"short", "expires": "soon",
}  # fmt: skip


@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b"bytes", "changed"], ids=str)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_somebody_wrote_to_gives_nothing_or_an_error(
    column: str, value: object, path: Path, ids: list[str]
) -> None:
    written = COLUMNS[column] if value == "changed" else value
    with closing(sqlite3.connect(path)) as raw, raw:
        try:
            raw.execute(f"UPDATE tokens SET {column} = ? WHERE id = ?", (written, ids[0]))
        except sqlite3.IntegrityError:
            return  # the file itself refuses it
    said = recalled(path, ids)
    if isinstance(said, list):
        assert said[0] in (None, NAMES[0])
        assert said[1:] == NAMES[1:]
    else:
        assert isinstance(said, VaultCorrupted | VaultFailed)


def test_a_sealed_key_that_was_changed_is_an_error(path: Path, ids: list[str]) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE keys SET sealed = zeroblob(80)")
    assert isinstance(recalled(path, ids), VaultCorrupted)


def test_with_another_key_tokens_say_nothing_and_new_ones_are_others(path: Path, ids: list[str]) -> None:
    other = Vault(SqliteVaultStore(path), key=b"x" * 32)
    assert other.recall(SCOPE, ids) == {}
    assert other.remember(SCOPE, [("PERSON", NAMES[0])])[0][8:-1] not in ids
    assert recalled(path, ids) == NAMES


asked: list[str] = []


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    asked.append(repr(messages))
    return ModelResponse([TextPart("done")])


def failed_run(engine: Deidentifier) -> str:
    """What a run says that must fail before its model is called."""
    asked.clear()
    with pytest.raises((RunFailed, FlujoError)) as failed:
        Flujo(Step.agent("ask", Agent(FunctionModel(answer))), plugins=[DeidentifierPlugin(engine)]).run(TEXT)
    assert asked == []
    assert "Smith" not in repr(failed.value)
    return str(failed.value)


def made(path: Path, profile: Profile | None = None) -> Deidentifier:
    store = SqliteVaultStore(path, timeout=0.1)
    return Deidentifier(profile or Profile("all"), key=KEY, vault=store, detectors=["patterns", "lists"])


LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("action", [Action.TOKEN, Action.SURROGATE])
def test_no_model_is_called_while_another_process_has_the_vault_locked(
    action: Action, path: Path, ids: list[str]
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCKED, os.fspath(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
        engine = made(path, Profile("all", default=action))
        assert "OperationalError" in failed_run(engine)
        assert holder.stdin is not None
        holder.stdin.close()
    assert Flujo(Step.agent("ask", Agent(FunctionModel(answer))), plugins=[DeidentifierPlugin(engine)]).run(TEXT).output
    assert "Smith" not in asked[0]


FULL = """
import os, resource, signal, sys
from flujo_deidentifier import DeidentificationError, Deidentifier, Profile, SqliteVaultStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
engine = Deidentifier(Profile("all"), key=b"k" * 32, vault=SqliteVaultStore(sys.argv[1]), detectors=["patterns"])
first = engine.deidentify("SSN 536-22-8726", session="s")
size = max(os.path.getsize(sys.argv[1]), os.path.getsize(sys.argv[1] + "-wal"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    for at in range(10_000):
        engine.deidentify(f"mail a{at}@example.org", session="s")
except DeidentificationError as error:
    print(type(error).__name__, str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(engine.restore(first, session="s"))
"""


def test_a_disk_that_is_full_is_an_error_and_what_was_kept_stays(path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limits of files")
    done = subprocess.run(
        [sys.executable, "-c", FULL, os.fspath(path)], capture_output=True, text=True, timeout=120, check=True
    )
    said, kept = done.stdout.splitlines()
    assert said.startswith("VaultFailed the store of the vault raised OperationalError")
    assert kept == "SSN 536-22-8726"


@pytest.mark.parametrize("fault", ["no file", "no folder", "read only", "key changed"])
def test_no_model_is_called_when_the_vault_cannot_be_used(fault: str, path: Path, ids: list[str]) -> None:
    if fault == "no file":
        path.write_bytes(b"no database" * 1000)
    elif fault == "no folder":
        path = path / "no" / "folder.db"
    elif fault == "read only":
        if os.geteuid() == 0:
            path.unlink()
            path.mkdir()
        path.chmod(0o400)
    else:
        engine = made(path)
        run = Flujo(Step.agent("ask", Agent(FunctionModel(answer))), plugins=[DeidentifierPlugin(engine)]).run(TEXT)
        assert run.output == "done"
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("UPDATE keys SET sealed = zeroblob(80)")
        scope = {"session": "conversation-1", "tenant": "acme", "subject": "patient-7"}
        with pytest.raises(VaultCorrupted):
            engine.deidentify("I am John Smith.", **scope)
        return
    said = failed_run(made(path))
    assert "the store of the vault raised" in said


def test_a_detector_that_is_missing_or_a_key_that_is_missing_stops_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.delenv("FLUJO_DEIDENTIFIER_KEY", raising=False)
    with pytest.raises(ConfigurationError):
        Deidentifier(Profile("all"), key=KEY, detectors=["patterns", "nobody-has-this"])
    assert "DeidentifierKeyMissing" in failed_run(Deidentifier(Profile("all"), detectors=["patterns"]))
    for use in (
        lambda engine: engine.deidentify(TEXT, session="s"),
        lambda engine: engine.restore("x" * 12, session="s"),
    ):
        with pytest.raises(DeidentifierKeyMissing):
            use(Deidentifier(Profile("all"), detectors=["patterns"]))


@pytest.mark.parametrize("action", [Action.TOKEN, Action.SURROGATE])
def test_what_is_about_an_erased_subject_stays_as_it_is_and_the_file_has_no_key(action: Action, path: Path) -> None:
    engine = made(path, Profile("all", default=action))
    scopes = {name: {"session": "s", "tenant": "t", "subject": name} for name in ("ann", "bo")}
    sent = {
        name: engine.deidentify(f"{who} was seen.", **scopes[name])
        for name, who in (("ann", "Ann Lee"), ("bo", "Mary Jones"))
    }
    with closing(sqlite3.connect(path)) as raw:
        before = [key for (key,) in raw.execute("SELECT sealed FROM keys")]
        rows = raw.execute("SELECT * FROM tokens").fetchall()
    assert engine.erase("ann", tenant="t") >= 1
    for said in (sent["ann"], sent["ann"].upper()):
        assert engine.restore(said, session="s", tenant="t") == said
        assert "".join(engine.restore_stream(list(said), session="s", tenant="t")) == said
    assert engine.restore(sent["bo"], session="s", tenant="t") == "Mary Jones was seen."
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert sum(key in kept for key in before) == len(before) - 1
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # from a copy
    assert engine.restore(sent["ann"], session="s", tenant="t") == sent["ann"]
    again = engine.deidentify("Ann Lee was seen.", **scopes["ann"])
    assert engine.restore(again, session="s", tenant="t") == "Ann Lee was seen."


@pytest.mark.parametrize("action", [Action.TOKEN, Action.SURROGATE])
def test_what_has_expired_stays_as_it_is(action: Action, path: Path) -> None:
    engine = Deidentifier(
        Profile("all", default=action), key=KEY, vault=SqliteVaultStore(path), detectors=["lists"], keep=1e-9
    )
    sent = engine.deidentify("Mary Jones was seen.", session="s")
    assert "Mary Jones" not in sent
    assert engine.restore(sent, session="s") == sent
    assert "".join(engine.restore_stream(list(sent), session="s")) == sent
    assert engine.vault.expire() >= 1


def test_errors_go_between_processes_without_a_value() -> None:
    for kind in (VaultFailed, VaultCorrupted, DeidentificationError):
        assert str(pickle.loads(pickle.dumps(kind("said")))) == "said"
