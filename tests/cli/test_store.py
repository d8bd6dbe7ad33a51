"""``flujo store``: check, vacuum, export and import, as a person uses them."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from flujo_core.cli.main import run_command
from flujo_core.errors import StoreRefused
from flujo_core.model.event import (
    QuestionAnswered,
    QuestionAsked,
    QuestionTerms,
    RunEnded,
    RunPaused,
    RunStarted,
    StepStarted,
)
from flujo_core.store.codec import encode
from flujo_core.store.portable import PortableWriter, RunCopy, copies, read_portable
from flujo_core.store.protocol import Lease, Mail, Record
from flujo_core.store.sqlite import SQLiteStore
from flujo_core.store.sqlite_upkeep import problems

CANARY = "canary value"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with two runs: one that is paused, with mail, and one that has ended."""
    path = tmp_path / "runs.db"
    asyncio.run(_filled(path))
    return f"sqlite:///{path}"


async def _filled(path: Path) -> None:
    store, one = SQLiteStore(path), Lease("one", 1, "me", 60.0)
    await store.append([*_begun("one", None, 1000.0), _asked(3), _asked(4)], one)
    await store.post(Mail("one", 0, "answer", 3, 0.0, b"\x00\xff", "anna"), seen=0)
    answered = encode(QuestionAnswered("one", None, 5, 1005.0, "a", 3, None, None, False), b'"yes"')
    await store.append([answered, encode(RunPaused("one", None, 6, 1006.0, ""))], one, taken=1, release=True)
    await store.post(Mail("one", 0, "cancel", 0, 0.0, b"{}"), seen=1)
    ended = encode(RunEnded("zwei ü", "acme", 3, 1009.0, "", "stopped"))
    await store.append([*_begun("zwei ü", "acme", 1001.0), ended], Lease("zwei ü", 1, "me", 60.0), release=True)
    await store.acquire("one", "me", 60.0)
    await store.close()


def _begun(run_id: str, tenant: str | None, at: float) -> list[Record]:
    started = RunStarted(run_id, tenant, 1, at, "", "p", None, {})
    return [encode(started, to_json(CANARY)), encode(StepStarted(run_id, tenant, 2, at, "a", 1))]


def _asked(sequence: int) -> Record:
    terms = QuestionTerms(expires_at=2e9 if sequence == 3 else None)
    head = ("one", None, sequence, 1000.0 + sequence, "a")
    asked = QuestionAsked(*head, 1, "step", "?", "str", {}, terms, None, {}, token_hash="f" * 64)
    return encode(asked, to_json(asked.payload))


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def everything(path: Path) -> list[RunCopy]:
    async def main() -> list[RunCopy]:
        store = SQLiteStore(path)
        try:
            return [run async for run in copies(store)]
        finally:
            await store.close()

    return asyncio.run(main())


def damage(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_store_in_which_nothing_is_wrong(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(path_of(url)) == []
    assert run_command(["store", "check", "--store", url]) == 0
    assert capsys.readouterr() == (f"{url}: nothing is wrong\n", "")
    assert run_command(["store", "check", "--store", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": url, "problems": []}


PLACED = "insert into place select run << 32 | sequence, id from record"


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["insert into run values (9, 'bare', null, 'running', 1.0, 1, '', 0, 0, 0)"], "run 'bare' has no records"),
        (["delete from run where run_id = 'one'"], "record 1 of run number 1 belongs to no run"),
        (["delete from record where run = 1 and sequence = 2"], "run 'one' have a gap"),
        (["delete from record where run = 2 and sequence = 1"], "run 'zwei ü' have a gap"),
        (["update record set sequence = 2 where sequence = 3 and run = 2"], "run 'zwei ü' have a gap"),
        (["update placed set upto = 99"], "where record 1 of run 'one' lies is not noted"),
        (["update placed set upto = 99", PLACED, "update place set record = 1 where key & 15 = 2"], "record 2 of run"),
        (["insert into place values (77, 4711)"], "1 places are noted of records that there are not"),
        (["update run set status = 'failed' where number = 1"], "run 'one' says 'failed', and its records 'paused'"),
        (["update record set epoch = 7 where sequence = 2 and run = 1"], "record 2 of run 'one' is of an epoch"),
        (["delete from mail where key & 15 = 1"], "the inbox of run 'one'"),
        (["delete from mail"], "the inbox of run 'one'"),
        (["update run set taken = 3 where run_id = 'one'"], "the inbox of run 'one'"),
        (["delete from question"], "question 4 of run number 1 is open, and not listed"),
        (["update question set key = key + 1"], "question 5 of run number 1 is listed, and not open"),
        (
            ["update record set payload = cast('{' as blob) where sequence = 2"],
            "record 2 of run 'one' cannot be read (ValueError)",
        ),
        (
            ["update record set payload = cast('{}' as blob) where sequence = 2"],
            "record 2 of run 'one' cannot be read (KeyError)",
        ),
    ],
)
def test_what_is_wrong_is_said(
    url: str, statements: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(path_of(url), *statements)
    assert run_command(["store", "check", "--store", url]) == 1
    out, err = capsys.readouterr()
    assert says in out and CANARY not in out and err == ""


def test_damage_is_said(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage(
        path_of(url),
        "pragma writable_schema = on",
        "update sqlite_master set sql = replace(sql, 'asked_at, run_id', 'run_id, asked_at')"
        " where name = 'question_by_age'",
    )
    assert run_command(["store", "check", "--store", url, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["problems"]
    assert found and all("the file is damaged" in one for one in found)


def test_a_file_whose_pages_are_overwritten_is_refused_or_said_to_be_damaged(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(path_of(url).read_bytes())
    content[2 * 4096 :] = b"\xab" * (len(content) - 2 * 4096)
    path_of(url).write_bytes(content)
    code = run_command(["store", "check", "--store", url])
    out, err = capsys.readouterr()
    assert (code, "damaged" in out) == (1, True) or (code == 2 and err.count("\n") == 1)


@pytest.mark.parametrize("command", ["check", "vacuum"])
@pytest.mark.parametrize("name", ["memory://", "sqlite:///nowhere.db"])
def test_upkeep_needs_a_file(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["store", command, "--store", name]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("flujo: ") and err.count("\n") == 1 and name in err
    assert not Path("nowhere.db").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.db").write_text("no database at all " * 99)
    for command in (["check"], ["vacuum"], ["export", "x.jsonl"]):
        assert run_command(["store", *command, "--store", f"sqlite:///{tmp_path}/other.db"]) == 2
        assert "left as it is" in capsys.readouterr().err.replace("was left", "left")
    assert not Path("x.jsonl").exists()


def test_vacuum_makes_the_file_small(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def grow() -> None:
        store = SQLiteStore(path_of(url))
        first = Record("big", None, 1, "run_started", "", "running", 1.0, b"x" * 1_000_000)
        await store.append([first], Lease("big", 1, "me", 9.0))
        await store.close()

    asyncio.run(grow())
    damage(path_of(url), "delete from record where run = 3", "delete from run where number = 3")
    assert run_command(["store", "vacuum", "--store", url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes_before"] > 1_000_000 > told["bytes_after"] == path_of(url).stat().st_size
    assert run_command(["store", "vacuum", "--store", url]) == 0
    assert "bytes before" in capsys.readouterr().out
    assert problems(path_of(url)) == []


def test_a_store_that_is_in_use_is_vacuumed_when_it_is_not_or_that_is_said(url: str) -> None:
    other = sqlite3.connect(path_of(url), isolation_level=None)
    other.execute("begin")
    other.execute("select * from run").fetchone()
    assert run_command(["store", "check", "--store", url]) == 0
    other.close()


def test_what_was_exported_is_imported_as_it_was(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, there = tmp_path / "runs.jsonl", f"sqlite:///{tmp_path}/deep/there.db"
    assert run_command(["store", "export", str(file), "--store", url]) == 0
    assert capsys.readouterr() == (f"2 runs exported to {file}\n", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run_command(["store", "import", str(file), "--store", there]) == 0
    assert capsys.readouterr() == (f"2 runs imported from {file}\n", "")
    assert everything(path_of(there)) == everything(path_of(url))
    assert problems(path_of(there)) == []

    async def goes_on() -> None:
        store = SQLiteStore(path_of(there))
        run = await store.run("one")
        assert run and (run.status, run.epoch, run.holder, run.mail, run.taken) == ("paused", 2, "", 2, 1)
        assert [(one.sequence, one.run_id) for one in await store.questions()] == [(4, "one")]
        assert (await store.acquire("one", "you", 9.0)).epoch == 3
        assert await store.post(Mail("one", 0, "answer", 4, 0.0, b"1"), seen=2)
        await store.close()

    asyncio.run(goes_on())


def test_single_runs_are_exported(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "runs.jsonl"
    assert run_command(["store", "export", str(file), "--run", "zwei ü", "--store", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "runs": 1}
    with file.open("rb") as lines:
        assert [run.run_id for run in read_portable(lines, "it").runs] == ["zwei ü"]


def test_a_run_that_there_is_not_is_not_exported(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["store", "export", str(tmp_path / "x.jsonl"), "--run", "one", "--run", "nobody", "--store", url]
    assert run_command(arguments) == 2
    assert "there is no run 'nobody'" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs.db"]


def test_export_writes_over_nothing(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    assert run_command(["store", "export", str(file), "--store", url]) == 2
    assert "is there already" in capsys.readouterr().err and file.read_text() == "mine"
    assert run_command(["store", "export", str(file / "deep"), "--store", url]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert run_command(["store", "export", "x.jsonl", "--store", "sqlite:///nowhere.db"]) == 2
    assert "there is no store" in capsys.readouterr().err


def test_a_store_without_a_file_is_exported_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["store", "export", str(tmp_path / "x.jsonl"), "--store", "memory://"]) == 0
    assert "0 runs exported" in capsys.readouterr().out
    assert run_command(["store", "import", str(tmp_path / "x.jsonl"), "--store", "memory://"]) == 2
    assert "is no SQLite store" in capsys.readouterr().err


def test_import_is_all_or_nothing(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, there = tmp_path / "runs.jsonl", f"sqlite:///{tmp_path}/there.db"
    run_command(["store", "export", str(file), "--store", url])
    run_command(["store", "export", str(tmp_path / "one.jsonl"), "--run", "one", "--store", url])
    run_command(["store", "import", str(tmp_path / "one.jsonl"), "--store", there])
    before = everything(path_of(there))
    capsys.readouterr()
    assert run_command(["store", "import", str(file), "--store", there]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "run 'one' is in the store already; nothing was imported" in err
    assert everything(path_of(there)) == before


def test_a_value_that_no_store_can_hold_is_not_imported(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.jsonl"
    bad = Record("bad", None, 1, "run_started", "\udcff", "running", 1.0, b"{}")
    exported(file, RunCopy("good", None, 1, 0, [bad._replace(run_id="good", address="")], []), copy(bad))
    before = everything(path_of(url))
    assert run_command(["store", "import", str(file), "--store", url]) == 1
    assert "could not do its work (UnicodeEncodeError)" in capsys.readouterr().err
    assert everything(path_of(url)) == before


def copy(*records: Record) -> RunCopy:
    return RunCopy(records[0].run_id, None, 1, 0, records, [])


def exported(file: Path, *runs: RunCopy) -> None:
    with file.open("wb") as opened:
        writer = PortableWriter(opened)
        for run in runs:
            writer.write(run)
        writer.end()


FIRST = Record("a", None, 1, "run_started", "", "running", 1.0, b"{}")


@pytest.mark.parametrize(
    "runs",
    [
        [copy(FIRST), copy(FIRST)],
        [copy(FIRST, FIRST._replace(sequence=3))],
        [copy(FIRST._replace(sequence=2))],
        [RunCopy("a", None, 1, 0, [], [])],
        [RunCopy("a", None, 1, 0, [FIRST], [Mail("a", 2, "cancel", 0, 1.0, b"{}")])],
    ],
    ids=["twice", "gap", "no begin", "empty", "inbox"],
)
def test_a_file_of_runs_that_cannot_be_is_refused(tmp_path: Path, runs: Sequence[RunCopy]) -> None:
    exported(tmp_path / "x.jsonl", *runs)
    with (tmp_path / "x.jsonl").open("rb") as lines, pytest.raises(StoreRefused, match="cannot be read"):
        read_portable(lines, "x.jsonl")


def test_each_change_of_a_file_is_refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, there = tmp_path / "runs.jsonl", f"sqlite:///{tmp_path}/there.db"
    run_command(["store", "export", str(file), "--store", url])
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    for torn in (
        *(content[:length] for length in range(0, len(content), 97)),
        content[:-1],
        content + b"\n",
        b"".join(lines[:3] + lines[4:]),
        content.replace(b'"epoch":1', b'"epoch":2', 1),
        content.replace(b"stopped", b"failed!", 1),
        b"[]\n" + content,
        b"no json\n",
    ):
        file.write_bytes(torn)
        capsys.readouterr()
        assert run_command(["store", "import", str(file), "--store", there]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and CANARY not in err
    assert not path_of(there).exists()


class Liar(PortableWriter):
    """Says of runs what is not so, in a chain that is whole."""

    def _write(self, facts: dict[str, Any]) -> None:
        super()._write(facts | {name: 5 for name in ("runs", "records") if name in facts and self.lies_of == name})

    lies_of = ""


@pytest.mark.parametrize(("what", "says"), [("records", "cannot be read"), ("runs", "says that it holds 5 runs")])
def test_a_file_with_a_false_count_is_refused(what: str, says: str, tmp_path: Path) -> None:
    with (tmp_path / "x.jsonl").open("wb") as opened:
        writer = Liar(opened)
        writer.lies_of = what
        writer.write(copy(FIRST))
        writer.end()
    with (tmp_path / "x.jsonl").open("rb") as lines, pytest.raises(StoreRefused, match=says):
        read_portable(lines, "x.jsonl")


def test_a_file_without_its_end_is_refused(tmp_path: Path) -> None:
    exported(tmp_path / "x.jsonl", copy(FIRST))
    lines = (tmp_path / "x.jsonl").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        with pytest.raises(StoreRefused, match="cannot be read"):
            read_portable(lines[:count], "x.jsonl")


def test_the_place_of_each_change_is_named(url: str, tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        store, opened = SQLiteStore(path_of(url)), BytesIO()
        writer = PortableWriter(opened)
        writer.write(await anext(copies(store, ["one"])))
        writer.end()
        await store.close()
        return opened.getvalue().splitlines(keepends=True)

    lines = asyncio.run(main())
    assert len(lines) == 1 + 1 + 6 + 2 + 1
    places = ["", "", *(f", record {n} of run 'one'" for n in range(1, 7)), ", mail 1 of run 'one'",
              ", mail 2 of run 'one'", ""]  # fmt: skip
    for number in range(2, len(lines) + 1):
        line = lines[number - 1]
        changed = [*lines[: number - 1], line[:80] + bytes([line[80] ^ 1]) + line[81:], *lines[number:]]
        missing = [*lines[: number - 1], *lines[number:]]
        twice = [*lines[:number], *lines[number - 1 :]]
        assert said_of(changed) == f"line {number}{places[number - 1]}"
        if number < len(lines):
            swapped = [*lines[: number - 1], lines[number], line, *lines[number + 1 :]]
            assert said_of(missing) == said_of(swapped) == f"line {number}{places[number - 1]}"
        assert said_of(twice).startswith(f"line {number + 1}")


def said_of(lines: Sequence[bytes]) -> str:
    with pytest.raises(StoreRefused) as refused:
        read_portable(lines, "x.jsonl")
    found = re.search(r"changed at (.*?): ", str(refused.value))
    assert found is not None and CANARY not in str(refused.value)
    return found[1]


def test_two_files_of_the_same_runs_have_the_same_digest(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert run_command(["runs", "export", "one", "--store", url]) == 0
        Path(name).write_text(capsys.readouterr().out)
    assert run_command(["runs", "verify", "a", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"file": "a", "runs": ["one"], "records": 6, "mail": 2, "digest": told["digest"]}
    assert run_command(["runs", "verify", "b", "--digest", told["digest"]]) == 0
    assert capsys.readouterr().out == f"b is whole: 6 records and 2 mail of 'one'\ndigest {told['digest']}\n"
    assert run_command(["runs", "verify", "b", "--digest", "0" * 64]) == 1
    assert "another file" in capsys.readouterr().err
    assert run_command(["runs", "import", "b", "--store", url]) == 2
    assert run_command(["runs", "import", "b", "--store", "sqlite:///there.db"]) == 0
    assert everything(Path("there.db")) == [run for run in everything(path_of(url)) if run.run_id == "one"]
    assert run_command(["runs", "export", "nobody", "--store", url]) == 2
    assert run_command(["runs", "export", "one", "--store", "sqlite:///nowhere.db"]) == 2


def test_a_file_of_another_version_is_refused() -> None:
    for version in (1, 9):
        with pytest.raises(StoreRefused, match=f"is of version {version}, and this Flujo reads version 2"):
            read_portable([b'{"flujo_runs":%d}\n' % version], "x.jsonl")
    with pytest.raises(StoreRefused, match="holds no exported runs"):
        read_portable([], "x.jsonl")


def test_a_file_that_there_is_not_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["store", "import", str(tmp_path / "x"), "--store", f"sqlite:///{tmp_path}/there.db"]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_many_runs_are_exported_page_by_page(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")

    async def main() -> None:
        for number in range(450):
            first = Record(f"r{number}", None, 1, "run_started", "", "running", float(number // 7), b"{}")
            await store.append([first], Lease(first.run_id, 1, "me", 9.0))
        found = [run.run_id async for run in copies(store)]
        assert len(found) == 450 == len(set(found))
        await store.close()

    asyncio.run(main())
