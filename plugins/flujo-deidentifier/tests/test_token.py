"""Tokens come back: whole, in pieces, and as models change them; those of others and forged ones do not."""

import html
import json
import os
import re
from urllib.parse import quote

import pytest
from flujo_deidentifier import Deidentifier, MemoryVaultStore, Profile, Scope
from flujo_deidentifier.placeholder import LONGEST
from flujo_deidentifier.token import tokens_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = b"k" * 32
CONVERSATIONS = int(os.environ.get("FLUJO_DEID_CONVERSATIONS", "1000"))
"""How many conversations are generated; 10,000 before a release."""
TEXT = "Patient John Smith, MRN 4837261, phone 212-555-0187, email john.smith@example.com. SSN 536-22-8726."

engine = Deidentifier(Profile("all"), key=KEY, detectors=["patterns", "lists"])
values = st.sampled_from(
    ["John Smith", "Mary O'Neil", "212-555-0187", "536-22-8726", "ann@example.org", "03/04/2021", "10.20.30.40",
     "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32", "https://example.com/p/17", "MRN 4837261",
     "Zo\u00eb M\u00fcller"]
)  # fmt: skip
words = st.one_of(
    st.text(max_size=12), st.sampled_from([" and ", ", seen ", "[", "]", "\\[", "[PERSON-abc", "%5B", "\n"])
)
texts = st.lists(st.one_of(values, words), max_size=10).map(" ".join)
conversations = st.lists(texts, min_size=1, max_size=3)
hypothesis_settings = settings(
    max_examples=CONVERSATIONS, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def masked(text: str = TEXT, session: str = "s", tenant: str = "") -> str:
    return engine.deidentify(text, session=session, tenant=tenant)


@given(conversations)
@hypothesis_settings
def test_every_generated_conversation_comes_back(conversation: list[str]) -> None:
    scope = Scope("round")
    kept = [engine.deidentify_value(text, scope, only_tokens=True) for text in conversation]
    assert [engine.restore_value(text, scope) for text in kept] == conversation


@given(texts, st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_any_chunking_gives_what_the_whole_gives(text: str, sizes: list[int]) -> None:
    sent = masked(text)
    pieces, at, turn = [], 0, 0
    while at < len(sent):
        size = sizes[turn % len(sizes)]
        pieces.append(sent[at : at + size])
        at, turn = at + size, turn + 1
    assert "".join(engine.restore_stream(pieces, session="s")) == engine.restore(sent, session="s")


@pytest.mark.parametrize("size", range(1, 60))
def test_every_size_of_pieces_gives_what_the_whole_gives(size: int) -> None:
    sent = masked()
    for form in (sent, sent.replace("[", "\\["), sent.replace("[", "").replace("]", ""), html.escape(sent), sent * 3):
        pieces = [form[at : at + size] for at in range(0, len(form), size)]
        assert "".join(engine.restore_stream(pieces, session="s")) == engine.restore(form, session="s")


def test_a_stream_holds_back_no_more_than_the_longest_token() -> None:
    stream, given_back, sent = engine.restoring(session="s"), 0, "[x%5B\\" * 200
    for at, one in enumerate(sent, 1):
        given_back += len(stream.feed(one))
        assert at - given_back <= LONGEST


@pytest.mark.parametrize(
    "alter",
    [
        str.lower, str.upper, lambda text: f"**{text}**", lambda text: f"`{text}`", lambda text: f'"{text}"',
        lambda text: text.replace("[", "\\[").replace("]", "\\]"), lambda text: text.replace("-", "_"),
        lambda text: text.replace("-", "\\_"), lambda text: text[1:-1], lambda text: text.replace("[", "&#91;"),
        lambda text: text.replace("[", "&lsqb;").replace("]", "&rsqb;"), lambda text: quote(text),
        lambda text: text.replace("[", "\\u005b").replace("]", "\\u005d"), lambda text: f"({text})",
        lambda text: text.replace("[", "[ ").replace("]", " ]"), lambda text: text.replace("-", "\u2011"),
    ],
)  # fmt: skip
def test_what_models_do_to_tokens_is_understood(alter: object) -> None:
    assert callable(alter)
    token = masked("John Smith")
    assert re.fullmatch(r"\[PERSON-[a-z2-7]{12}\]", token)
    assert "John Smith" in engine.restore(alter(token), session="s")


def test_a_value_is_escaped_where_it_stands_in_json() -> None:
    token = engine.deidentify('a "b" \\ c', session="s", label="phi")
    assert json.loads(engine.restore(json.dumps({"x": token}), session="s", form="json")) == {"x": 'a "b" \\ c'}


def test_sessions_and_tenants_share_no_tokens() -> None:
    spots = [("s", ""), ("t", ""), ("s", "a"), ("s", "b")]
    texts_ = [masked(TEXT, session, tenant) for session, tenant in spots]
    ids = [{one.id for one in tokens_in(text)} for text in texts_]
    assert all(not a & b for at, a in enumerate(ids) for b in ids[:at])
    for at, text in enumerate(texts_):
        for other, (session, tenant) in enumerate(spots):
            assert (engine.restore(text, session=session, tenant=tenant) == TEXT) == (at == other)


def test_the_same_value_has_the_same_token_and_tokens_stay_as_they_are() -> None:
    assert masked() == masked()
    assert masked(masked()) == masked()
    assert masked("Ask John Smith.").split()[1][:-1] == masked("John Smith")


def test_a_forged_token_stays_as_it_is() -> None:
    token = masked("John Smith")
    for forged in ("[PERSON-aaaaaaaaaaaa]", "[PERSON-]", token[:-3] + "22]", token[:-2] + "]"):
        assert engine.restore(forged, session="s") == forged


def test_two_processes_with_one_key_make_the_same_tokens() -> None:
    other = Deidentifier(Profile("all"), key=KEY, vault=MemoryVaultStore(), detectors=["patterns", "lists"])
    assert other.deidentify(TEXT, session="s") == masked()
    another = Deidentifier(Profile("all"), key=b"x" * 32, detectors=["patterns", "lists"])
    assert another.deidentify(TEXT, session="s") != masked()


def test_surrogates_come_back() -> None:
    profile = Profile("made", default="surrogate")  # type: ignore[arg-type]
    made = Deidentifier(profile, key=KEY, detectors=["patterns", "lists"])
    text = made.deidentify(TEXT, session="s")
    assert "[" not in text
    assert not any(one in text for one in ("Smith", "4837261", "212-555-0187", "536-22-8726"))
    assert made.deidentify(text, session="s") == text
    assert made.restore(text, session="s") == TEXT
