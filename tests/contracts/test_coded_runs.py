"""Runs whose payloads go through codecs (SEMANTICS 12): nothing of them is in clear, and they go on all the same."""

from __future__ import annotations

import json
import os
import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from canary_kit import CANARY, bytes_in, joined, keeps, rich, said
from crash_kit import crashed, done, durable
from flow_kit import ALONE, State
from typer.testing import CliRunner

from flujo_core import (
    About,
    AesGcmCodec,
    AlreadyAnswered,
    Cache,
    Flujo,
    HumanInput,
    Loop,
    Map,
    MemoryCache,
    MemoryStore,
    Plugin,
    Registry,
    RunFailed,
    Settings,
    SQLiteStore,
    WatchableStore,
    ZstdCodec,
    key_ring,
)
from flujo_core.cli.main import app
from flujo_core.errors import CodecError, ConfigurationError, KeyLost
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.coded import CodedStore
from flujo_core.store.coding import coded

ONE, TWO = os.urandom(32), os.urandom(32)


def aes(current: str = "one", **keys: bytes) -> AesGcmCodec:
    return AesGcmCodec(key_ring(keys or {"one": ONE}, current))


async def through(folder: Path, *codecs: Any, voters: tuple[str, str] = ("ann", "bob")) -> Any:
    """A rich run, in a file."""
    url = f"sqlite:///{folder}/runs.db"
    async with Flujo(rich(), settings=ALONE, context=State, store=url, codecs=codecs) as flujo:
        paused = await flujo.run_async(said("input"), run_id="r")
        assert paused.status == "paused"
        for voter in voters:
            result = await flujo.resume_async("r", said("answer"), approver=voter)
        return result


def test_with_an_encrypting_codec_no_canary_is_in_any_byte_and_without_all_are(tmp_path: Path) -> None:
    for name, codecs in (("clear", ()), ("secret", (ZstdCodec(), aes()))):
        (tmp_path / name).mkdir()
        result = done(through(tmp_path / name, *codecs))
        assert result.output == said("answer")
        exported = CliRunner().invoke(
            app, ["store", "export", str(tmp_path / name / "out"), "--store", f"sqlite:///{tmp_path}/{name}/runs.db"]
        )
        assert exported.exit_code == 0, exported.output
    clear, secret = bytes_in(tmp_path / "clear"), bytes_in(tmp_path / "secret")
    for what in ("input", "output", "context", "error", "question", "answer", "key", "result of a tool", "argument"):
        assert said(what).encode() in clear or what == "key", what
    assert b"kanarienvogel-answer of a model-key" in clear.replace(b"%20", b" ")
    assert CANARY.encode() not in secret
    for name in (b"ann", b"bob"):
        assert b'"' + name + b'"' not in secret


async def left(store: Any, *codecs: Any, **more: Any) -> Any:
    node = Map("each", keeps, over=lambda text: [text, f"{text}2"], key=str) >> joined
    node = node >> HumanInput("confirm", str, ask="?") >> keeps.named("last")
    return durable(node, store, codecs=codecs, **more)


def test_a_run_goes_on_after_the_key_was_rotated() -> None:
    async def main() -> None:
        store = MemoryStore()
        before = await left(store, aes(one=ONE))
        paused = await before.run_async("x", run_id="r")
        rotated = await left(store, ZstdCodec(), aes("two", one=ONE, two=TWO))
        assert [one.text for one in await rotated.pending_async()] == ["?"]
        result = await rotated.resume_async("r", "yes")
        assert result.output == "yes"
        assert [one.address for one in result.steps][:2] == [one.address for one in paused.steps][:2]
        last = (await store.read("r"))[-1]
        assert b"two" in last.payload

    done(main())


def test_a_run_whose_key_is_lost_is_a_typed_error_and_is_listed() -> None:
    async def main() -> None:
        store = MemoryStore()
        await (await left(store, aes())).run_async("x", run_id="r")
        lost = await left(store, aes("two", two=TWO))
        with pytest.raises(KeyLost, match="key 'one'"):
            await lost.resume_async("r", "yes")
        with pytest.raises(CodecError, match="written with codec 'aes-gcm'"):
            await (await left(store)).resume_async("r", "yes")
        assert [one.status for one in await store.runs()] == ["paused"]
        (question,) = await lost.pending_async()
        assert (question.run_id, question.address, question.text) == ("r", "confirm", "")
        assert (await (await left(store, aes())).resume_async("r", "yes")).output == "yes"

    done(main())


def test_what_cannot_be_read_here_does_not_keep_others_from_being_recovered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        store, node = MemoryStore(), keeps >> keeps.named("last")
        assert await crashed(node, "x", store, 1, codecs=[aes()])
        lost = durable(node, store, codecs=[aes("two", two=TWO)])
        assert await lost.recover_async() == []
        assert "run.not_readable" in capsys.readouterr().err
        assert [one.status for one in await durable(node, store, codecs=[aes()]).recover_async()] == ["completed"]

    done(main())


def test_a_run_that_was_begun_without_codecs_goes_on_with_them() -> None:
    async def main() -> None:
        store = MemoryStore()
        await (await left(store)).run_async("x", run_id="r")
        assert (await (await left(store, aes())).resume_async("r", "yes")).output == "yes"
        assert (await (await left(store, aes())).run_async("x", run_id="r")).output == "yes"

    done(main())


def test_a_record_in_clear_behind_encrypted_ones_is_refused() -> None:
    async def main() -> None:
        store, plain = MemoryStore(), MemoryStore()
        await (await left(store, aes())).run_async("x", run_id="r")
        await (await left(plain)).run_async("x", run_id="r")
        mixed = [*(await store.read("r"))[:2], *(await plain.read("r"))[2:]]

        class Mixed(MemoryStore):
            async def read(self, run_id: str, /, *, after: int = 0) -> Any:
                return mixed

        with pytest.raises(CodecError, match="record 3 of run 'r' is in clear, behind encrypted ones"):
            await CodedStore(Mixed(), (await left(store, aes()))._codecs).read("r")

    done(main())


def test_a_crash_at_any_write_resumes_with_the_same_hidden_keys() -> None:
    async def source(text: str, after: str | None = None) -> AsyncIterator[str]:
        for item in ("a", "b", "c"):
            if after is None or f"{item}!" > after:
                yield item

    node = Map("each", keeps, over=source, key=lambda item: f"{item}!") >> joined
    codecs = [aes()]

    async def main() -> None:
        for at in range(2, 30):
            store = MemoryStore()
            if not await crashed(node, "x", store, at, codecs=codecs):
                break
            result = await durable(node, store, codecs=codecs).resume_async("r")
            assert result.output == "['a', 'b', 'c']"
            assert len({one.address for one in result.steps}) == 4
            assert not any("a!" in one.address for one in await store.read("r"))
        else:
            pytest.fail("it did not come to its end")

    done(main())


def test_an_index_that_is_a_key_stays_as_it_is() -> None:
    async def source(text: str, after: str | None = None) -> AsyncIterator[str]:
        for index, item in enumerate("abc"):
            if after is None or index > int(after):
                yield item

    node = Map("each", keeps, over=source) >> joined

    async def main() -> None:
        store = MemoryStore()
        assert await crashed(node, "x", store, 5, codecs=[aes()])
        result = await durable(node, store, codecs=[aes()]).resume_async("r")
        assert [one.address for one in result.steps][:3] == ["each[0]/keeps", "each[1]/keeps", "each[2]/keeps"]

    done(main())


def test_one_voter_counts_once_however_the_key_was_rotated() -> None:
    question = HumanInput("confirm", str, ask="?", approvers=["ann", "bob"], quorum=2)

    async def main() -> None:
        store = MemoryStore()
        await durable(question, store, codecs=[aes()]).run_async("x", run_id="r")
        await durable(question, store, codecs=[aes()]).resume_async("r", "yes", approver="ann")
        rotated = durable(question, store, codecs=[aes("two", one=ONE, two=TWO)])
        with pytest.raises(AlreadyAnswered, match="'ann' has answered"):
            await rotated.resume_async("r", "yes", approver="ann")
        assert not any(one.voter == "ann" for one in await store.mail("r"))
        assert (await rotated.resume_async("r", "yes", approver="bob")).output == "yes"

    done(main())


def test_the_voters_of_a_run_that_was_begun_without_codecs_stay_as_they_are() -> None:
    question = HumanInput("confirm", str, ask="?", approvers=["ann", "bob"], quorum=2)

    async def main() -> None:
        store = MemoryStore()
        await durable(question, store).run_async("x", run_id="r")
        flujo = durable(question, store, codecs=[aes()])
        await flujo.resume_async("r", "yes", approver="ann")
        assert [one.voter for one in await store.mail("r")] == ["ann"]
        assert (await flujo.resume_async("r", "yes", approver="bob")).output == "yes"

    done(main())


def test_a_portable_state_is_encoded_and_goes_on() -> None:
    node = Map("each", keeps, over=lambda text: [text], key=lambda text: said("key")) >> joined
    node = node >> HumanInput("confirm", str, ask=said("question"))

    async def main() -> None:
        flujo: Flujo[Any, Any, Any] = Flujo(node, settings=ALONE, codecs=[ZstdCodec(), aes()])
        paused = await flujo.run_async(said("input"))
        text = paused.state.model_dump_json()
        assert CANARY not in text
        result = await flujo.resume_async(type(paused.state).model_validate_json(text), "yes")
        assert result.output == "yes"
        with pytest.raises(CodecError):
            await Flujo(node, settings=ALONE).resume_async(paused.state, "yes")

    done(main())


def test_a_cache_that_is_given_keeps_encoded_entries() -> None:
    class Seen(MemoryCache):
        entries: ClassVar[list[bytes]] = []

        async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
            self.entries.append(entry)
            await super().put(key, entry, ttl=ttl)

    node = keeps.policy(cache=Cache())
    flujo: Flujo[Any, Any, Any] = Flujo(node, settings=ALONE, cache=Seen(), codecs=[aes()])
    assert flujo.run(said("x")).output == flujo.run(said("x")).output == said("x")
    assert len(Seen.entries) == 1
    assert CANARY.encode() not in Seen.entries[0]


def test_a_key_that_cannot_be_had_fails_the_run_before_anything_is_written() -> None:
    def nobody(wanted: str | None) -> Any:
        raise OSError

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises((RunFailed, CodecError), match="cannot be had"):
            await durable(keeps, store, codecs=[AesGcmCodec(nobody)]).run_async("x")
        assert not await store.runs()

    done(main())


def test_registered_codecs_are_named_in_code_and_in_the_configuration() -> None:
    class Upside:
        name = "acme/upside"

        def encode(self, data: bytes, about: About, /) -> bytes:
            return data[::-1]

        def decode(self, data: bytes, about: About, /) -> bytes:
            return data[::-1]

    class Acme(Plugin):
        name: ClassVar[str] = "acme"

        def register_codecs(self, registry: Registry[Any], /) -> None:
            registry.add("upside", Upside)

    async def main() -> None:
        for more in ({"codecs": ["acme/upside"]}, {"settings": Settings(ALONE.plugins, codecs=("upside", "zstd"))}):
            store = MemoryStore()
            flujo = durable(keeps, store, plugins=[Acme()], **more)
            assert (await flujo.run_async("x", run_id="r")).output == "x"
            assert (await flujo.run_async("x", run_id="r")).output == "x"
            assert b"acme/upside" in (await store.read("r"))[0].payload
        with pytest.raises(ConfigurationError, match="'codecs' is a list"):
            durable(keeps, MemoryStore(), codecs="zstd")
        with pytest.raises(ConfigurationError, match="zsdt"):
            durable(keeps, MemoryStore(), codecs=["zsdt"])

    done(main())


def test_the_command_line_reads_through_the_codecs_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("FLUJO_AES_KEYS", f"one:{b64encode(ONE).decode()}")

    async def begun() -> None:
        async with Flujo(rich(), settings=ALONE, context=State, store=url, codecs=[aes()]) as flujo:
            await flujo.run_async("x", run_id="r")

    done(begun())
    asked = CliRunner().invoke(app, ["runs", "list", "--store", url])
    assert asked.exit_code == 0
    assert "paused" in asked.output
    checked = CliRunner().invoke(app, ["store", "check", "--store", url])
    assert checked.exit_code == 0, checked.output
    unread = CliRunner().invoke(app, ["runs", "pending", "--store", url])
    assert "confirm  (it cannot be read here)" in unread.output
    without = CliRunner().invoke(app, ["runs", "show", "r", "--store", url])
    assert isinstance(without.exception, CodecError)
    (tmp_path / "flujo.toml").write_text('codecs = ["aes-gcm"]\n[plugins]\nallow = []\n')
    shown = CliRunner().invoke(app, ["runs", "show", "r", "--store", url, "--values"])
    assert said("output") in shown.output
    waiting = CliRunner().invoke(app, ["runs", "pending", "--store", url])
    assert said("question") in waiting.output
    monkeypatch.delenv("FLUJO_AES_KEYS")
    keyless = CliRunner().invoke(app, ["runs", "pending", "--store", url])
    assert keyless.exit_code == 0
    assert "set 'FLUJO_AES_KEYS'" in keyless.output
    assert "confirm  (it cannot be read here)" in keyless.output


def test_a_store_of_many_runs_is_read_by_their_headers_alone(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        flujo = durable(Loop("again", keeps, until=lambda _: True, max_iterations=1), store, codecs=[aes()])
        for number in range(3):
            await flujo.run_async("x", run_id=f"r{number}", tenant="t")
        through = coded(store, Codecs([aes()]))
        assert [one.status for one in await through.runs(tenant="t")] == ["completed"] * 3
        lease = await through.acquire("r0", "me", 60.0)
        await through.renew(lease)
        await through.release(lease)
        await store.close()

    done(main())
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        assert connection.execute("select count(*) from run").fetchone() == (3,)


def test_a_fork_keeps_the_hidden_keys_of_the_run_that_it_is_forked_off() -> None:
    node = Map("each", keeps, over=lambda text: [text, f"{text}2"], key=str) >> joined >> keeps.named("last")

    async def main() -> None:
        store = MemoryStore()
        flujo = durable(node, store, codecs=[aes()])
        whole = await flujo.run_async("x", run_id="r")
        forked = await flujo.fork_async("r", at="last", fork_id="f")
        assert forked.output == whole.output
        assert [one.address for one in forked.steps] == [one.address for one in whole.steps]

    done(main())


def test_a_store_that_tells_of_mail_tells_of_it_through_codecs() -> None:
    class Telling(MemoryStore):
        def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
            heard("r")
            return lambda: heard("over")

    told: list[str] = []
    codecs = Codecs([aes()])
    through = coded(Telling(), codecs)
    assert isinstance(through, WatchableStore)
    through.watch(told.append)()
    assert told == ["r", "over"]
    assert not isinstance(coded(MemoryStore(), codecs), WatchableStore)


def test_a_run_with_codecs_is_deleted() -> None:
    async def main() -> None:
        store = MemoryStore()
        flujo = durable(keeps, store, codecs=[aes()])
        await flujo.run_async("x", run_id="r")
        await flujo.delete_async("r")
        assert await store.run("r") is None

    done(main())


def test_the_command_line_erases_what_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("FLUJO_AES_KEYS", f"one:{b64encode(ONE).decode()}")
    (tmp_path / "flujo.toml").write_text('codecs = ["aes-gcm"]\n[plugins]\nallow = []\n')

    async def begun() -> None:
        async with Flujo(keeps, settings=ALONE, store=url, codecs=[aes()]) as flujo:
            await flujo.run_async("x", run_id="r", subject="ann")

    done(begun())
    erased = CliRunner().invoke(app, ["runs", "erase", "ann", "--store", url, "--json"])
    assert json.loads(erased.stdout) == {"deleted": ["r"]}


def test_runs_are_deleted_and_pruned_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/runs.db"
    (tmp_path / "flujo.toml").write_text('codecs = ["aes-gcm"]\n[plugins]\nallow = []\n[retention]\nkeep = "0s"\n')

    async def begun() -> None:
        async with Flujo(keeps, settings=ALONE, store=url, codecs=[aes()]) as flujo:
            for run_id in ("one", "two"):
                await flujo.run_async("x", run_id=run_id)

    done(begun())
    for command in (["delete", "one"], ["prune"]):
        found = CliRunner().invoke(app, ["runs", *command, "--store", url, "--json"])
        assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {"deleted": ["two"]}
