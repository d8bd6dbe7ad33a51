"""Value codecs: what they are told of places in values, and which parts of what is kept are values."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import to_json

from flujo_core import Label, LabelledPath, Mail, MemoryStore, Record, UnknownRun, ValueAbout, labels_of
from flujo_core.store.byte_codec import Codecs
from flujo_core.store.codec import DECODERS
from flujo_core.store.coding import coded
from flujo_core.store.parts import PARTS, Sheet, parts_of
from flujo_core.store.protocol import Lease
from flujo_core.store.value_codec import Values
from flujo_core.store.valued import ValuedStore, opened


def about(*paths: tuple[str, ...], hint: Any = None) -> ValueAbout:
    labels = labels_of(hint) if hint is not None else tuple(LabelledPath(path, ("phi",)) for path in paths)
    return ValueAbout("r", None, "", "a", "output", labels)


@pytest.mark.parametrize(
    ("pattern", "path", "key", "holds"),
    [
        ((), (), False, True),
        ((), ("a", "0"), False, True),
        ((), ("a",), True, True),
        (("a",), (), False, False),
        (("a",), ("a",), False, True),
        (("a",), ("a", "b"), False, True),
        (("a",), ("a", "b"), True, True),
        (("a",), ("a",), True, False),
        (("a",), ("b",), False, False),
        (("a", "*"), ("a",), False, False),
        (("a", "*"), ("a", "3"), False, True),
        (("a", "*"), ("a", "k"), True, False),
        (("a", "~key"), ("a", "k"), True, True),
        (("a", "~key"), ("a", "k"), False, False),
        (("a", "~key"), ("a", "k", "b"), False, False),
        (("**", "name"), ("name",), False, True),
        (("**", "name"), ("child", "child", "name"), False, True),
        (("**", "name"), ("child", "other"), False, False),
        (("child", "**", "name"), ("child", "name"), False, True),
        (("0",), ("0",), False, True),
        (("0",), ("1",), False, False),
    ],
)
def test_labels_hold_at_a_place_and_below(
    pattern: tuple[str, ...], path: tuple[str, ...], key: bool, holds: bool
) -> None:
    assert about(pattern).labels_at(path, key=key) == ({"phi"} if holds else frozenset())


class Person(BaseModel):
    name: Annotated[str, Label("phi")] = ""
    friends: list[Person] = []
    notes: dict[Annotated[str, Label("phi")], Annotated[str, Label("note")]] = {}


def test_the_labels_of_a_type_hold_in_its_values() -> None:
    told = about(hint=list[Person])
    assert told.labels_at(("0", "name")) == {"phi"}
    assert told.labels_at(("0", "friends", "3", "friends", "1", "name")) == {"phi"}
    assert told.labels_at(("0", "friends", "3", "notes", "k"), key=True) == {"phi"}
    assert told.labels_at(("0", "notes", "k")) == {"note"}
    assert not told.labels_at(("0", "friends"))
    assert not told.labels_at(())


def test_of_each_kind_of_record_it_is_known_what_is_a_value() -> None:
    assert PARTS.keys() == DECODERS.keys()
    for kind, parts in PARTS.items():
        assert len({one.name for one in parts}) == len(parts), kind


def test_a_call_of_an_agent_is_of_a_model_or_of_a_tool() -> None:
    assert [one.kind for one in parts_of("call_completed", "ask!model.1")] == ["model", "patch"]
    assert [one.kind for one in parts_of("call_completed", "ask!tool.call-1")] == ["tool", "patch"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_value_goes_through_and_comes_back(value: Any) -> None:
    class Wrapping:
        name = "wrap"

        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return [value]

        async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return value[0]

    values = Values([Wrapping()])

    async def main() -> Any:
        return await values.decoded(await values.encoded(value, about()), about(), ["wrap"])

    assert to_json(asyncio.run(main())) == to_json(value)


def test_a_sheet_changes_nothing_but_its_parts() -> None:
    payload = b'{ "error": null, "reason": "r" }\n"out"\n{}'
    sheet = Sheet(payload)
    assert [(part.kind, value) for part, value in sheet.values(parts_of("run_ended", ""))] == [
        ("output", "out"),
        ("reason", "r"),
    ]
    assert Sheet(payload).payload == payload
    part = parts_of("run_ended", "")[0]
    sheet[part] = "other"
    assert sheet.payload.endswith(b'\n"other"\n{}')


class Quiet:
    """A value codec that changes nothing."""

    name = "quiet"

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return value

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return value


async def store_of_one() -> Any:
    store = MemoryStore()
    through = coded(store, Codecs([Quiet()]))
    assert isinstance(through, ValuedStore)
    record = Record("r", None, 1, "run_started", "", "running", 0.0, b'{"pipeline":"p"}\n"x"\n{}')
    asked = Record("r", None, 2, "question_asked", "a", "", 0.0, b'{"source":"step"}\n{"text":"?"}\n{}')
    await through.append([record, asked], Lease("r", 1, "me", 60.0), release=True)
    return store, through


def test_of_a_run_of_which_nothing_is_known_values_are_encoded_all_the_same() -> None:
    async def main() -> None:
        store, through = await store_of_one()
        kept = opened((await store.read("r"))[0].payload)
        assert kept is not None
        assert kept.facts == {"parts": [["input", []]]}
        assert (await through.read("r"))[0].payload == b'{"pipeline":"p"}\n"x"\n{}'
        mail = Mail("r", 0, "answer", 2, 0.0, b'{"approver":null,"verified":false}\n"yes"')
        assert await through.post(mail, seen=0)
        assert (await through.mail("r"))[0].payload == mail.payload

    asyncio.run(main())


def test_an_answer_to_what_nobody_has_asked_is_for_the_store_to_refuse() -> None:
    async def main() -> None:
        _, through = await store_of_one()
        mail = Mail("s", 0, "answer", 2, 0.0, b'{"approver":null,"verified":false}\n"yes"')
        with pytest.raises(UnknownRun):
            await through.post(mail, seen=0)
        with pytest.raises(UnknownRun):
            await through.post(mail._replace(voter="ann"), seen=0)

    asyncio.run(main())
