"""The vault keeps nothing in clear, forgets what it must, and says when it cannot read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flujo_deidentifier import (
    Deidentifier,
    DeidentifierKeyMissing,
    MemoryVaultStore,
    Scope,
    SqliteVaultStore,
    Vault,
    VaultCorrupted,
    VaultFailed,
    VaultStore,
)

KEY = b"k" * 32
SCOPE = Scope("conversation-1", "acme", "patient-7")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VaultStore:
    return MemoryVaultStore() if request.param == "memory" else SqliteVaultStore(tmp_path / "vault.db")


def read(vault: Vault, token: str, scope: Scope = SCOPE) -> str | None:
    made = token[1:-1].partition("-")[2]
    kept = vault.recall(scope, [made]).get(made)
    return None if kept is None else kept.value


def test_what_is_remembered_is_recalled(store: VaultStore) -> None:
    vault = Vault(store, key=KEY)
    first, second = vault.remember(SCOPE, [("PERSON", "Ann Lee"), ("CREDIT_CARD", "4111")])
    assert (read(vault, first), read(vault, second)) == ("Ann Lee", "4111")
    assert read(vault, first, SCOPE._replace(tenant="other")) is None
    assert read(vault, first.replace("PERSON", "PHONE")) == "Ann Lee"  # the kind is only told
    assert isinstance(store, VaultStore)


def test_a_file_has_no_value_session_or_subject_and_is_its_owners(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path / "vault.db")
    token = Vault(store, key=KEY).remember(SCOPE, [("PERSON", "Ann Lee")])[0]
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(one in kept for one in (b"Ann", b"conversation-1", b"patient-7"))
    assert (tmp_path / "vault.db").stat().st_mode & 0o077 == 0
    assert read(Vault(SqliteVaultStore(tmp_path / "vault.db"), key=KEY), token) == "Ann Lee"


def test_erasure_is_by_subject_and_leaves_copies_of_rows_unreadable(tmp_path: Path) -> None:
    store = SqliteVaultStore(tmp_path / "vault.db")
    vault = Vault(store, key=KEY)
    token = vault.remember(SCOPE, [("PERSON", "Ann Lee")])[0]
    other = vault.remember(SCOPE._replace(subject="patient-8"), [("PERSON", "Bo Ek")])[0]
    with closing(sqlite3.connect(tmp_path / "vault.db")) as copy, copy:
        rows = copy.execute("SELECT * FROM tokens").fetchall()
    assert vault.erase("patient-7", tenant="acme") == 1
    with closing(sqlite3.connect(tmp_path / "vault.db")) as back, back:
        back.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    copy.close()
    back.close()
    assert (read(vault, token), read(vault, other)) == (None, "Bo Ek")


def test_values_expire(store: VaultStore) -> None:
    now = [100.0]
    vault = Vault(store, key=KEY, keep=10, clock=lambda: now[0])
    token = vault.remember(SCOPE, [("PERSON", "Ann Lee")])[0]
    now[0] = 109
    assert read(vault, token) == "Ann Lee"
    now[0] = 111
    assert read(vault, token) is None
    assert (vault.expire(), vault.expire()) == (1, 0)


def test_a_row_that_was_changed_or_moved_is_an_error(tmp_path: Path) -> None:
    vault = Vault(SqliteVaultStore(tmp_path / "vault.db"), key=KEY)
    first, second = vault.remember(SCOPE, [("PERSON", "Ann Lee"), ("PERSON", "Bo Ek")])
    with closing(sqlite3.connect(tmp_path / "vault.db")) as raw, raw:
        raw.execute("UPDATE tokens SET sealed = (SELECT sealed FROM tokens WHERE id = ?)", (second[8:-1],))
    raw.close()
    with pytest.raises(VaultCorrupted) as failed:
        read(vault, first)
    assert "Ann" not in str(failed.value)
    assert "Bo" not in str(failed.value)


def test_another_key_gives_no_value(store: VaultStore) -> None:
    token = Vault(store, key=KEY).remember(SCOPE, [("PERSON", "Ann Lee")])[0]
    assert read(Vault(store, key=lambda: b"x" * 32), token) is None


@pytest.mark.parametrize("key", [None, b"short", lambda: 1 / 0])
def test_a_missing_key_is_told(key: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUJO_DEIDENTIFIER_KEY", raising=False)
    engine = Deidentifier(key=key, detectors=["patterns"])  # type: ignore[arg-type]
    assert engine.find("SSN 536-22-8726")
    with pytest.raises(DeidentifierKeyMissing, match="FLUJO_DEIDENTIFIER_KEY"):
        engine.deidentify("SSN 536-22-8726", session="s")


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"no database" * 1000)
    with pytest.raises(VaultFailed, match="DatabaseError"):
        Vault(SqliteVaultStore(tmp_path / "vault.db"), key=KEY).remember(SCOPE, [("PERSON", "Ann Lee")])
