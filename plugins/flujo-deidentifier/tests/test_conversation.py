"""Conversations come back word for word, with tokens, surrogates or both, and nothing of one is anything in another."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from flujo_deidentifier import Action, Deidentifier, MemoryVaultStore, Profile, Span
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = b"k" * 32
CONVERSATIONS = int(os.environ.get("FLUJO_DEID_CONVERSATIONS", "100"))
"""How many conversations are generated with each profile; 10,000 before a release."""
PROFILES = {
    "tokens": Profile("tokens"),
    "surrogates": Profile("surrogates", default=Action.SURROGATE),
    "mixed": Profile("mixed", actions={"PERSON": Action.SURROGATE, "DATE": Action.SHIFT, "EMAIL": Action.SURROGATE}),
}
SESSIONS = count()
often = settings(
    max_examples=CONVERSATIONS, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True,
    database=None,
)  # fmt: skip


def engine_of(name: str) -> Deidentifier:
    return Deidentifier(PROFILES[name], key=KEY, detectors=["patterns", "lists"])


engines = {name: engine_of(name) for name in PROFILES}
values = st.sampled_from(
    ["John Smith", "Mary O'Neil", "MARY O'NEIL", "Smith", "212-555-0187", "536-22-8726", "ann@example.org",
     "03/04/2021", "04/13/2021", "10.20.30.40", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32", "https://example.com/p/17",
     "MRN 4837261", "Zo\u00eb M\u00fcller", "aged 93", "Dr. James T. Smith", "Keller", "Paris"]
)  # fmt: skip
words = st.one_of(
    st.text(max_size=9),
    st.sampled_from(
        [" and ", ", seen ", "[", "]", "\\[", "\\n", "[PERSON-abc", "%5B", "\n", "'s", "Mr. ", "x", "&#39;"]
    ),
)
texts = st.lists(st.one_of(values, words), max_size=8).map("".join)
sizes = st.lists(st.integers(1, 30), min_size=1, max_size=6)


def pieces(text: str, lengths: Sequence[int]) -> list[str]:
    found, at, turn = [], 0, 0
    while at < len(text):
        size = lengths[turn % len(lengths)]
        found.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return found


@pytest.mark.parametrize("name", PROFILES)
@given(conversation=st.lists(texts, min_size=1, max_size=4), lengths=sizes, data=st.data())
@often
def test_each_message_comes_back_whatever_was_said_before(
    name: str, conversation: list[str], lengths: list[int], data: st.DataObject
) -> None:
    # One of its own for each conversation, so that one that is tried again has the same surrogates.
    engine, session, given_out = engine_of(name), name, [""]
    for text in conversation:
        mixed = text + data.draw(st.sampled_from(given_out))  # what is real may read like what was made up
        for said in dict.fromkeys([text, mixed]):
            quoted = False if name != "tokens" else None
            sent = engine.deidentify(said, session=session, quoted=quoted)
            wanted = said if name != "tokens" else engine.restore(said, session=session)
            assert engine.restore(sent, session=session) == wanted
            assert "".join(engine.restore_stream(pieces(sent, lengths), session=session)) == wanted
            assert engine.deidentify(sent, session=session) == sent
            given_out.extend(
                word for word in sent.split(" ") if name == "tokens" or not re.search(r"[a-z2-7]{12}", word)
            )
    if name != "tokens":
        return
    for text in conversation:
        assert engine.restore(engine.deidentify(text, session=session), session=session) == text


@pytest.mark.parametrize("name", PROFILES)
@given(text=texts, lengths=sizes)
@often
def test_any_pieces_of_what_a_model_makes_of_it_give_what_the_whole_gives(
    name: str, text: str, lengths: list[int]
) -> None:
    engine, session = engines[name], f"pieces{next(SESSIONS) // 100}"
    sent = engine.deidentify(text, session=session)
    for said in (sent, sent.replace(" ", "\n"), sent.upper(), sent[3:] + sent[:3], sent.replace("[", "\\["), sent * 2):
        for form in ("text", "json"):
            back = "".join(engine.restore_stream(pieces(said, lengths), session=session, form=form))
            assert back == engine.restore(said, session=session, form=form)


@given(text=texts, lengths=sizes)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_the_async_twins_give_the_same(text: str, lengths: list[int]) -> None:
    engine = engines["mixed"]

    async def main() -> list[str]:
        sent = await engine.deidentify_async(text, session="twins")

        async def said() -> AsyncIterator[str]:
            for piece in pieces(sent, lengths):
                yield piece

        streamed = [piece async for piece in engine.restore_stream_async(said(), session="twins")]
        return [await engine.restore_async(sent, session="twins"), "".join(streamed)]

    assert asyncio.run(main()) == [text, text]


@pytest.mark.parametrize("name", PROFILES)
@given(text=texts)
@often
def test_what_stands_for_something_in_one_session_or_tenant_is_inert_in_others(name: str, text: str) -> None:
    engine = engine_of(name)
    sent = engine.deidentify(text, session="one", tenant="a")
    for session, tenant in (("two", "a"), ("one", "b"), ("one", ""), ("a", "one")):
        assert engine.restore(sent, session=session, tenant=tenant) == sent
        engine.deidentify("Ann Lee, 212-555-0100", session=session, tenant=tenant)
    assert engine.restore(sent, session="one", tenant="a") == text


def surrogates() -> Deidentifier:
    return engine_of("surrogates")


def test_a_real_name_that_equals_a_surrogate_made_before_is_another_person() -> None:
    engine = surrogates()
    made = engine.deidentify("I am John Smith.", session="s")[5:-1]
    text = f"My doctor is {made}."
    sent = engine.deidentify(text, session="s")
    assert made not in sent
    assert engine.restore(sent, session="s") == text
    assert engine.restore(f"{made} went.", session="s") == "John Smith went."


def test_what_a_model_says_keeps_its_surrogates() -> None:
    engine = surrogates()
    made = engine.deidentify("I am John Smith.", session="s")[5:-1]
    said = f"Hello {made}, and Mary Jones."
    kept = engine.deidentify(said, session="s", quoted=True)
    assert kept.startswith(f"Hello {made}, and ")
    assert engine.restore(kept, session="s") == "Hello John Smith, and Mary Jones."


def test_another_process_knows_what_was_given_before() -> None:
    store = MemoryVaultStore()
    first, second = (
        Deidentifier(PROFILES["surrogates"], key=KEY, vault=store, detectors=["patterns", "lists"]) for _ in range(2)
    )
    sent = first.deidentify("John Smith, 212-555-0187.", session="s")
    assert second.deidentify(sent, session="s") == sent
    assert second.restore(sent, session="s") == "John Smith, 212-555-0187."


def test_no_surrogate_is_a_word_that_the_conversation_has() -> None:
    class Names:
        """Finds one name, and nothing of the many that are surrogates."""

        name = "names"

        def detect(self, text: str, /) -> list[Span]:
            at = text.find("John Smith")
            return [Span(at, at + 10, "PERSON", 1.0, "names")] if at >= 0 else []

    free = Deidentifier(PROFILES["surrogates"], key=KEY, detectors=[Names()])
    would = free.deidentify("John Smith", session="s")
    engine = Deidentifier(PROFILES["surrogates"], key=KEY, detectors=[Names()])
    engine.deidentify(f"{would.lower()} came", session="s")  # is not found, and goes as it is
    sent = engine.deidentify("John Smith came", session="s")
    assert would not in sent
    assert engine.restore(sent, session="s") == "John Smith came"


def test_a_value_that_is_too_short_to_be_told_apart_is_a_token() -> None:
    engine = Deidentifier(Profile("all", default=Action.SURROGATE), key=KEY, detectors=["patterns", "lists"])
    sent = engine.deidentify("He is 93 years old, 93.", session="s")
    assert engine.restore(f"{sent} Give 94 mg, or 92, 91 or 95.", session="s").endswith("Give 94 mg, or 92, 91 or 95.")


def test_dates_of_a_subject_move_by_the_same_days_and_come_back_in_pieces() -> None:
    engine = engines["mixed"]
    text = "Seen 2021-03-04, again 2021-03-14."
    sent = engine.deidentify(text, session="dates", subject="p-1")
    assert sent != text and "[" not in sent
    assert "".join(engine.restore_stream(list(sent), session="dates")) == text


def test_surrogates_in_the_arguments_of_a_tool_come_back_however_json_is_cut() -> None:
    engine = surrogates()
    value = "Zo\u00eb M\u00fcller"
    token = engine.deidentify('a "b" \\ c', session="s", label="phi")
    made = engine.deidentify(f"I am {value}.", session="s")[5:-1]
    said = f'{{"to": "\\n{made}\\n", "again": "\\u005b{token[1:-1]}\\u005d"}}'
    wanted = engine.restore(said, session="s", form="json")
    assert value in json.loads(wanted)["to"]
    for size in range(1, 20):
        assert "".join(engine.restore_stream(pieces(said, [size]), session="s", form="json")) == wanted
