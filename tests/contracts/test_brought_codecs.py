"""Codecs that plugins bring: what is kept goes through them without a word in the code, and is forgotten by them."""

from __future__ import annotations

from typing import Any

import pytest
from crash_kit import done
from flow_kit import ALONE

from flujo_core import (
    ConfigurationError,
    Flujo,
    HumanInput,
    MemoryStore,
    Plugin,
    PluginLoadError,
    RunInfo,
    Settings,
    StepCall,
    ValueAbout,
    step,
)
from flujo_core.errors import CodecError, KeyLost
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.coded import CodedStore
from flujo_core.store.coding import coded


class Turned:
    """Keeps texts the other way round."""

    def __init__(self, name: str = "acme/turned") -> None:
        self.name = name

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return value[::-1] if isinstance(value, str) else value

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return value[::-1] if isinstance(value, str) else value


class Bringing(Plugin):
    name = "bringing"
    dormant = True

    def __init__(self, *codecs: Any) -> None:
        self.codecs = codecs


@step
async def keeps(text: str) -> str:
    return text


async def heads(*plugins: Plugin, settings: Settings = ALONE, **more: Any) -> bytes:
    """How what is kept of a run begins."""
    store = MemoryStore()
    async with Flujo(keeps, store=store, plugins=plugins, settings=settings, **more) as flujo:
        assert (await flujo.run_async("drawer", run_id="r")).output == "drawer"
        assert (await flujo.replay_async("r")).output == "drawer"
    return (await store.read("r"))[0].payload.partition(b"\n")[0]


def test_what_a_plugin_brings_is_used_before_what_is_listed() -> None:
    async def main() -> None:
        assert await heads(Bringing(Turned())) == b"\0values:acme/turned"
        assert await heads(Bringing(Turned()), codecs=[Turned("one"), "zstd"]) == b"\0flujo:zstd"
        assert await heads(Bringing(Turned("a"), Turned("b")), codecs=[Turned("one")]) == b"\0values:a,b,one"

    done(main())


def test_one_that_is_listed_stands_where_it_is_listed() -> None:
    listed = [Turned("one"), Turned()]
    assert done(heads(Bringing(Turned()), codecs=listed)) == b"\0values:one,acme/turned"


def test_two_plugins_that_bring_the_same_are_refused() -> None:
    class Other(Bringing):
        name = "other"

    with pytest.raises(ConfigurationError, match="two codecs have the same name"):
        Flujo(keeps, store=MemoryStore(), plugins=[Bringing(Turned()), Other(Turned())], settings=ALONE)


@pytest.mark.parametrize("wrong", [Turned(), ["zstd"], "zstd"])
def test_what_is_no_list_of_value_codecs_is_refused(wrong: Any) -> None:
    plugin = Bringing()
    plugin.codecs = wrong
    with pytest.raises(PluginLoadError, match="has 'codecs' that is no list of value codecs"):
        Flujo(keeps, plugins=[plugin], settings=ALONE)


class Remembering(Turned):
    """Has something of each run elsewhere, and says what it forgets."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.forgotten: list[Any] = []
        self.fault = fault
        self.about: set[str] = set()

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        self.about.add(about.subject)
        return await super().encode_value(value, about)

    async def forget_run(self, run_id: str, tenant: str | None, /) -> None:
        self.forgotten.append((run_id, tenant))

    async def forget_subject(self, subject: str, tenant: str | None, /) -> None:
        if self.fault == "raises":
            raise ValueError("Ada Lovelace")
        if self.fault == "cannot":
            raise CodecError("the vault is closed")
        self.forgotten.append((subject, tenant))


def test_codecs_forget_runs_that_are_deleted_and_subjects_that_are_erased() -> None:
    codec = Remembering()

    async def main() -> None:
        store = MemoryStore()
        async with Flujo(keeps, store=store, plugins=[Bringing(codec)], settings=ALONE) as flujo:
            for run_id, tenant in (("a", "t"), ("b", None), ("c", "t")):
                await flujo.run_async("x", run_id=run_id, tenant=tenant, subject="ann")
            (digest,) = codec.about
            await flujo.delete_async("a")
            assert codec.forgotten == [("a", "t")]
            await flujo.erase_async("ann")
            assert codec.forgotten[1:] == [("c", "t"), ("b", None), (digest, None), (digest, "t")]
            codec.forgotten.clear()
            await flujo.erase_async("ann", tenant="t")  # once more, as one may after an error
            assert codec.forgotten == [(digest, "t")]

    done(main())


@pytest.mark.parametrize(("fault", "said"), [("raises", "raised ValueError"), ("cannot", "the vault is closed")])
def test_a_codec_that_cannot_forget_says_so_and_is_asked_again(fault: str, said: str) -> None:
    codec = Remembering(fault)

    async def main() -> None:
        async with Flujo(keeps, store=MemoryStore(), plugins=[Bringing(codec)], settings=ALONE) as flujo:
            await flujo.run_async("x", run_id="a", subject="ann")
            with pytest.raises(CodecError, match="erase again: .*" + said) as failed:
                await flujo.erase_async("ann")
            assert "Lovelace" not in str(failed.value)
            codec.fault = ""
            assert await flujo.erase_async("ann") == []
            assert codec.forgotten[-1][0] == next(iter(codec.about))

    done(main())


def test_runs_are_erased_though_their_values_cannot_be_read() -> None:
    class Lost(Remembering):
        async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
            if self.fault == "lost":
                raise KeyLost("the vault is empty")
            return await super().decode_value(value, about)

    codec = Lost()

    async def main() -> None:
        async with Flujo(keeps, store=MemoryStore(), plugins=[Bringing(codec)], settings=ALONE) as flujo:
            await flujo.run_async("x", run_id="a", subject="ann")
            codec.fault = "lost"
            assert await flujo.erase_async("ann") == ["a"]

    done(main())


@pytest.mark.parametrize("keeps_runs", [True, False])
def test_hooks_steps_and_agents_are_told_a_digest_of_the_subject(keeps_runs: bool) -> None:
    told: list[str] = []

    async def tells(text: str, *, info: RunInfo) -> str:
        told.append(info.subject)
        return text

    first, last = step(name="first")(tells), step(name="last")(tells)

    class Telling(Plugin):
        name = "telling"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            told.append(call.subject)

    async def main() -> None:
        ask = HumanInput("confirm", str, ask="Well?")
        store = MemoryStore() if keeps_runs else None
        async with Flujo(first >> ask >> last, store=store, plugins=[Telling()], settings=ALONE) as flujo:
            paused = await flujo.run_async("x", run_id="a", subject="ann")
            await flujo.resume_async("a" if keeps_runs else paused.state, "yes")

    done(main())
    assert len(told) >= 4
    assert {*told} == {told[0]}
    assert len(told[0]) == 64


def test_a_run_that_is_gone_meanwhile_is_about_nobody() -> None:
    async def main() -> None:
        store = coded(MemoryStore(), Codecs([Turned()]))
        assert isinstance(store, CodedStore)
        assert (await store.origin("gone")).subject == ""

    done(main())
