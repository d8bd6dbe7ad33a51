"""Surrogates: made-up values of the form of real ones, with right checksums, the same for the same value and key."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from flujo_deidentifier.checksum import digits_of, iban_rest, is_address, is_npi, is_ssn, is_vin, luhn_digit, vin_digit
from flujo_deidentifier.dates import days_of, shifted
from flujo_deidentifier.draw import Draw
from flujo_deidentifier.everyday import TITLES
from flujo_deidentifier.lexicon import entries

_VIN_LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ"
_TRIES: Final = 16


def surrogate(label: str, text: str, key: bytes, *, subject: str = "", attempt: int = 0) -> str:
    """A made-up value in the place of a real one.

    It is never the value itself. Equal values, but for case and blanks, get equal surrogates under one key; different
    ones may too, rarely: then ask for another ``attempt``.

    Args:
        label: The label of the value; one that is not ours keeps the form and changes letters and digits.
        text: The value.
        key: The key.
        subject: Whom the data is about; moves dates.
        attempt: Which of the possible surrogates; the first is 0.
    """
    value = " ".join(text.split()).casefold()
    make = _MAKERS.get(label, _like)
    made = ""
    for number in range(attempt, attempt + _TRIES):
        made = make(text, Draw(key, label, value, str(number)), Seed(key, subject, number))
        if " ".join(made.split()).casefold() != value:
            return made
    return made + Draw(key, label, value).digits(2)


class Seed(NamedTuple):
    """What a maker may draw from beside the draw of the whole value."""

    key: bytes
    subject: str
    attempt: int


Maker = Callable[[str, Draw, Seed], str]


@cache
def _names(kind: str) -> tuple[str, ...]:
    return tuple(
        sorted(
            name.capitalize()
            for name in entries(kind)
            if name.isalpha() and 3 < len(name) < 10 and name not in entries("words")
        )
    )


@cache
def _places() -> tuple[str, ...]:
    return tuple(sorted(place for place in entries("cities") if place.isascii() and place.replace(" ", "").isalpha()))


def _cased(old: str, new: str) -> str:
    return new.upper() if old.isupper() and len(old) > 1 else new.lower() if old.islower() else new


_KEPT: Final = TITLES | frozenset({"s", "de", "la", "van", "von", "der", "den", "del", "bin", "ibn", "al"})
_INITIALS: Final = "ABCDEFGHJKLMNPRSTVW"


def _person(text: str, draw: Draw, seed: Seed) -> str:
    """Word by word, so that a surname that stands alone gets the surrogate that it has in the whole name."""

    def word(match: re.Match[str]) -> str:
        old = match[0]
        bare = old.casefold()
        if bare in _KEPT:
            return old
        own = Draw(seed.key, "name", bare, str(seed.attempt))
        if len(bare) == 1:
            return own.of(_INITIALS)
        return _cased(old, own.of(_names("given-names" if bare in entries("given-names") else "surnames")))

    return re.sub(r"[^\W\d_]+", word, text)


def _location(text: str, draw: Draw, seed: Seed) -> str:
    return _cased(text, draw.of(_places()))


def _organization(text: str, draw: Draw, seed: Seed) -> str:
    return _cased(text, f"{draw.of(_names('surnames'))} {draw.of(('Group', 'Partners', 'Associates', 'Institute'))}")


def _nationality(text: str, draw: Draw, seed: Seed) -> str:
    return draw.of(sorted(entries("demonyms")))


def _address(text: str, draw: Draw, seed: Seed) -> str:
    if not re.search(r"[^\W\d_]{2}", text):
        return _like(text, draw, seed)
    kind = draw.of(("Street", "Avenue", "Road", "Lane", "Drive"))
    return f"{1 + draw.below(9899)} {draw.of(_names('surnames'))} {kind}"


def _email(text: str, draw: Draw, seed: Seed) -> str:
    name = f"{draw.of(_names('given-names'))}.{draw.of(_names('surnames'))}{draw.digits(2)}".lower()
    return f"{name}@example.{draw.of(('com', 'org', 'net'))}"


def _url(text: str, draw: Draw, seed: Seed) -> str:
    scheme = text[: text.index("://") + 3] if "://" in text else ""
    return f"{scheme}www.example.{draw.of(('com', 'org', 'net'))}/{draw.of(_names('surnames')).lower()}{draw.digits(4)}"


def _ip(text: str, draw: Draw, seed: Seed) -> str:
    if ":" in text and is_address(text):
        return "2001:db8:" + ":".join(f"{draw.below(65536):x}" for _ in range(6))
    return "10." + ".".join(str(draw.below(254) + 1) for _ in range(3))


def _filled(text: str, digits: str) -> str:
    """The text, with other digits in the places of its own."""
    left = iter(digits)
    return re.sub(r"[0-9]", lambda _: next(left), text)


def _phone(text: str, draw: Draw, seed: Seed) -> str:
    old = digits_of(text)
    new = list(draw.digits(len(old)))
    if len(old) >= 10:
        start = 1 if old[0] == "1" and len(old) == 11 else 0
        new[:start] = old[:start]
        if not text.lstrip().startswith("+") or start:
            new[start] = "23456789"[draw.below(8)]
            new[start + 3 : start + 6] = "555"
        else:
            new[:2] = old[:2]
    return _filled(text, "".join(new))


def _ssn(text: str, draw: Draw, seed: Seed) -> str:
    count = len(digits_of(text))
    while True:
        digits = f"{draw.below(899) + 1:03d}{draw.digits(6)}"
        if is_ssn(digits):
            return _filled(text, digits[:count].ljust(count, "7"))


def _card(text: str, draw: Draw, seed: Seed) -> str:
    old = digits_of(text)
    body = old[:1] + draw.digits(len(old) - 2)
    return _filled(text, body + luhn_digit(body))


def _iban(text: str, draw: Draw, seed: Seed) -> str:
    bare = re.sub(r"[^A-Za-z0-9]", "", text).upper()
    body = "".join(draw.digits(1) if one.isdigit() else draw.of("ABCDEFGHJKLMNPRSTUVWXYZ") for one in bare[4:])
    check = 98 - iban_rest(f"{body}{bare[:2]}00")
    left = iter(f"{bare[:2]}{check:02d}{body}")
    return re.sub(r"[A-Za-z0-9]", lambda _: next(left), text)


def _identifier(text: str, draw: Draw, seed: Seed) -> str:
    if is_vin(text):
        drawn = "".join(draw.digits(1) if one.isdigit() else draw.of(_VIN_LETTERS) for one in text)
        return drawn[:8] + vin_digit(drawn) + drawn[9:]
    if is_npi(text):
        body = text[0] + draw.digits(8)
        return body + luhn_digit("80840" + body)
    return _like(text, draw, seed)


def _date(text: str, draw: Draw, seed: Seed) -> str:
    return shifted(text, days_of(seed.key, seed.subject)) or _like(text, draw, seed)


def _age(text: str, draw: Draw, seed: Seed) -> str:
    def near(match: re.Match[str]) -> str:
        return str(max(1, int(match[0]) + (1 + draw.below(3)) * (1 if draw.below(2) else -1)))

    return re.sub(r"\d+", near, text, count=1)


def _like(text: str, draw: Draw, seed: Seed) -> str:
    """Other letters and digits in the places of the old ones; what stands between them stays."""

    def other(match: re.Match[str]) -> str:
        old = match[0]
        if old.isdigit():
            return draw.digits(1)
        return draw.of("ABCDEFGHJKLMNPRSTUVWXYZ") if old.isupper() else draw.of("abcdefghjkmnpqrstuvwxyz")

    return re.sub(r"[^\W_]", other, text)


_MAKERS: Final[dict[str, Maker]] = {
    "ADDRESS": _address, "AGE": _age, "CREDIT_CARD": _card, "DATE": _date, "EMAIL": _email, "IBAN": _iban,
    "ID": _identifier, "IP": _ip, "LOCATION": _location, "NRP": _nationality, "ORGANIZATION": _organization,
    "PERSON": _person, "PHONE": _phone, "SSN": _ssn, "URL": _url,
}  # fmt: skip
