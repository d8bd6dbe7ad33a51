"""What models do to placeholders, one thing or several at once, is understood: in whole texts and in pieces."""

import html
import json
import os
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

import pytest
from flujo_deidentifier import Deidentifier, Profile
from flujo_deidentifier.placeholder import LONGEST
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

KEY = b"k" * 32
EXAMPLES = int(os.environ.get("FLUJO_DEID_CONVERSATIONS", "1000"))
"""How many examples are generated; 10,000 before a release."""
SECRET = "Zo\u00eb O'Neil"
Alter = Callable[[str], str]

engine = Deidentifier(Profile("all"), key=KEY, detectors=["patterns", "lists"])
TOKEN = engine.deidentify(SECRET, session="s", label="person")
often = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)


def wide(text: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text)


def between(text: str, put: str) -> str:
    """The token with something at both sides of its dash."""
    return text.replace("-", f"{put}-{put}", 1)


def cut(text: str, put: str) -> str:
    """The token with something inside of its keyed part."""
    return text[:-6] + put + text[-6:]


INSIDE: dict[str, Alter] = {
    "kind": lambda text: text.replace("PERSON", "NAME"),
    "kind of two words": lambda text: text.replace("PERSON", "FULL_NAME"),
    "kind in another script": lambda text: text.replace("PERSON", "ИМЯ"),
    "no kind": lambda text: text.replace("PERSON-", ""),
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "underscore": lambda text: text.replace("-", "_"),
    "hyphen": lambda text: text.replace("-", "\u2011"),
    "en dash": lambda text: text.replace("-", "\u2013"),
    "minus": lambda text: text.replace("-", "\u2212"),
    "blank for a dash": lambda text: text.replace("-", " "),
    "colon for a dash": lambda text: text.replace("-", ": "),
    "blanks at the dash": lambda text: between(text, " "),
    "blanks within": lambda text: text.replace("[", "[ ").replace("]", " ]"),
    "bold within": lambda text: text.replace("[", "[**").replace("]", "**]"),
}
CUTS: dict[str, Alter] = {
    "line break": lambda text: cut(text, "\n"),
    "line break with a hyphen": lambda text: cut(text, "-\r\n"),
    "line break in a quotation": lambda text: cut(text, "\n> "),
    "blank in the keyed part": lambda text: cut(text, " "),
    "zero-width space": lambda text: cut(text, "\u200b"),
    "soft hyphen": lambda text: cut(text, "\u00ad"),
}
AROUND: dict[str, Alter] = {
    "escaped for Markdown": lambda text: re.sub(r"[\[\]_-]", lambda one: "\\" + one[0], text),
    "escaped twice": lambda text: re.sub(r"[\[\]]", lambda one: "\\\\" + one[0], text),
    "HTML numbers": lambda text: text.replace("[", "&#91;").replace("]", "&#93;").replace("-", "&#45;"),
    "HTML hexadecimal": lambda text: text.replace("[", "&#x5B;").replace("]", "&#x5D;"),
    "HTML names": lambda text: text.replace("[", "&lsqb;").replace("]", "&rsqb;"),
    "HTML twice": lambda text: html.escape(text.replace("[", "&#91;").replace("]", "&#93;")),
    "JSON": lambda text: text.replace("[", "\\u005b").replace("]", "\\u005D"),
    "JSON twice": lambda text: json.dumps(text.replace("[", "\\u005b").replace("]", "\\u005d"))[1:-1],
    "URL": quote,
    "URL twice": lambda text: quote(quote(text)),
    "wide": wide,
    "lenticular": lambda text: text.replace("[", "\u3010").replace("]", "\u3011"),
    "braces": lambda text: text.replace("[", "{").replace("]", "}"),
    "angles": lambda text: text.replace("[", "<").replace("]", ">"),
}
BESIDE: dict[str, tuple[str, str]] = {
    "bold": ("**", "**"), "italic": ("_", "_"), "code": ("`", "`"), "quotes": ('"', '"'), "curly": ("\u201c", "\u201d"),
    "parentheses": ("(", ")"), "possessive": ("", "'s"), "curly possessive": ("", "\u2019s"), "plural": ("", "s"),
    "stop": ("", "."), "brackets": ("[", "]"), "list": ("- ", "\n"), "cell": ("| ", " |"), "dear": ("Dear ", ",\n"),
    "link": ("see ", " there"), "escaped": ("\\n", "\\n"), "JSON": ('{"who": "', '", "n": 1}'), "sum": ("a-", "-b"),
}  # fmt: skip


def pieces(text: str, sizes: Sequence[int]) -> list[str]:
    found, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        found.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return found


def check(said: str, wanted: str, sizes: Sequence[int] = (1, 2, 3)) -> None:
    assert engine.restore(said, session="s") == wanted
    assert "".join(engine.restore_stream(pieces(said, sizes), session="s")) == wanted


@pytest.mark.parametrize("alter", [*INSIDE.values(), *CUTS.values(), *AROUND.values()], ids=[*INSIDE, *CUTS, *AROUND])
def test_nothing_of_an_altered_token_is_left(alter: Alter) -> None:
    check(f"Ask {alter(TOKEN)} now.", f"Ask {SECRET} now.")


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_what_is_beside_a_token_stays(beside: tuple[str, str]) -> None:
    check(TOKEN.join(beside), SECRET.join(beside))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (TOKEN[1:-1], SECRET), (f"**{TOKEN[1:-1]}**", f"**{SECRET}**"), (f"**PERSON**-{TOKEN[8:-1]}", SECRET),
        (f"PERSON-**{TOKEN[8:-1]}**", SECRET), (TOKEN[:-1], f"[{SECRET}"), (TOKEN[1:], f"{SECRET}]"),
        (TOKEN[8:-1], SECRET), (TOKEN[1:-1] + "s", f"{SECRET}s"), (f"PERSON {TOKEN[8:-1]}", SECRET),
        (f"[see {TOKEN[1:-1]}]", f"[see {SECRET}]"), (f"[{TOKEN[1:-1]} and {TOKEN[1:-1]}]", f"[{SECRET} and {SECRET}]"),
        (f"\\{TOKEN}\\", f"\\{SECRET}\\"), (f"[[{TOKEN}", f"[[{SECRET}"), (f"%5B{TOKEN}", f"%5B{SECRET}"),
        (f'["{TOKEN[1:-1]}"]', f'["{SECRET}"]'), (f"well-known {TOKEN}", f"well-known {SECRET}"),
    ],
)  # fmt: skip
def test_brackets_go_in_pairs_and_nothing_else_goes(said: str, wanted: str) -> None:
    check(said, wanted)


@given(
    st.lists(st.sampled_from(sorted(INSIDE)), max_size=3, unique=True), st.sampled_from([*sorted(CUTS), ""]),
    st.sampled_from([*sorted(AROUND), ""]),
    st.sampled_from(sorted(BESIDE)), st.lists(st.integers(1, 9), min_size=1, max_size=6),
)  # fmt: skip
@often
def test_several_things_at_once_are_understood(
    inside: list[str], within: str, around: str, beside: str, sizes: list[int]
) -> None:
    altered = TOKEN
    for name in inside:
        altered = INSIDE[name](altered)
    altered = CUTS[within](altered) if within else altered
    altered = AROUND[around](altered) if around else altered
    assume(len(altered) < LONGEST - 32)
    said = f"Write to {altered.join(BESIDE[beside])} soon."
    back = engine.restore(said, session="s")
    assert SECRET in back
    assert "".join(engine.restore_stream(pieces(said, sizes), session="s")) == back


noise = st.one_of(
    st.text(max_size=9),
    st.sampled_from(
        ["[", "]", "\\", "\\\\", "&", "&#91;", "&#9", "%", "%5", "%5B", "-", "**", "`", " ", "\n", "PERSON", "PERSON ",
         "PERSON-", "[PERSON", "[Person: ", "k3v7x2m5q4ab", "\u3010", "u005b", "a well-known man ", "s", "\u200b", "{",
         "[ see it there"]
    ),
)  # fmt: skip
tokens = st.sampled_from(
    [
        *(alter(TOKEN) for alter in (*INSIDE.values(), *CUTS.values(), *AROUND.values())),
        TOKEN,
        TOKEN[:-1],
        TOKEN[1:-1],
        TOKEN[8:-1],
    ]
)


@given(
    st.lists(st.one_of(noise, tokens), max_size=9).map("".join), st.lists(st.integers(1, 30), min_size=1, max_size=6)
)
@often
def test_any_pieces_of_anything_give_what_the_whole_gives(said: str, sizes: list[int]) -> None:
    stream, back = engine.restoring(session="s"), []
    for piece in pieces(said, sizes):
        back.append(stream.feed(piece))
    back.append(stream.flush())
    assert "".join(back) == engine.restore(said, session="s")


@given(st.text(max_size=40), st.text(max_size=40))
@often
def test_a_token_as_it_was_written_comes_back_whatever_is_around_it(before: str, after: str) -> None:
    check(f"{before}{TOKEN}{after}", f"{before}{SECRET}{after}")


@given(st.text("[]\\&%-_*` \n;#59bPERSONk3v7x2m5q4abPERSON", max_size=400), st.integers(1, 9))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_stream_holds_back_no_more_than_the_longest_token(said: str, size: int) -> None:
    stream, given_back, fed = engine.restoring(session="s"), 0, 0
    for piece in pieces(said, [size]):
        fed += len(piece)
        given_back += len(stream.feed(piece))
        assert fed - given_back <= LONGEST + 16
