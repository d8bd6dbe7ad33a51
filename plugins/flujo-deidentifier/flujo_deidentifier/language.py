"""Language: whether a text is in one that the detectors know; they are made for English."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Final

from flujo_deidentifier.errors import LanguageRefused
from flujo_deidentifier.profile import Profile

UNKNOWN: Final = ""
"""The language of a text that is too short to tell, or in none of those that are told apart."""

_ENGLISH = (" the ", " and ", " is ", " of ", " with ", " my ", " for ", " to ")
_WORDS: Final = {
    "en": (
        "the and of to is was for with his her on at by from that this"
        " are be my you your not have has he she it as an please"
    ),
    "es": (
        "el la los las de del que y en un una por con para se su"
        " al es lo como más pero fue este ha sin sobre años paciente"
    ),
    "fr": (
        "le la les des du de et en un une par pour que qui dans est"
        " sur au aux ce cette il elle pas avec son sa ses été ans"
    ),
    "de": (
        "der die das und ist von mit für den dem des ein eine nicht sich auf"
        " im zu als auch wurde bei nach aus an wird ich"
    ),
    "it": "il lo la gli le di del della che e un una per con non è si da al dei nel sono alla anche più ha su",
    "pt": "o a os as de do da dos das que e em um uma por com para se não no na ao é foi mais como anos paciente",
    "nl": "de het een en van is op te dat die voor met zijn aan niet ook er om naar bij door als uit was wordt",
}  # fmt: skip
_CODES: Final = {
    word: [code for code in _WORDS if word in _WORDS[code].split()] for word in " ".join(_WORDS.values()).split()
}
_SCRIPTS: Final = {
    "CYRILLIC": "ru", "ARABIC": "ar", "HEBREW": "he", "GREEK": "el", "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja",
    "HANGUL": "ko", "DEVANAGARI": "hi", "THAI": "th",
}  # fmt: skip
_LOOKED_AT: Final = 2000
_LEAST: Final = 3


def language(text: str) -> str:
    """The language of a text as an ISO 639-1 code, or ``UNKNOWN``; what has English function words is English.

    A text without any of them needs three function words of another language, or mostly letters of another script.
    """
    head = text[:_LOOKED_AT]
    if any(map(head.__contains__, _ENGLISH)):
        return "en"
    return _by_script(head) or _by_words(head)


def _by_words(head: str) -> str:
    counts = Counter(code for word in head.lower().split() for code in _CODES.get(word, ()))
    if not counts:
        return UNKNOWN
    best, count = counts.most_common(1)[0]
    return best if count >= _LEAST else UNKNOWN


def _by_script(head: str) -> str:
    if head.isascii():
        return UNKNOWN
    letters = [one for one in head if one.isalpha()]
    scripts = Counter(unicodedata.name(one, "?").split()[0] for one in letters if one > "\u036f")
    if not scripts or sum(scripts.values()) * 2 < len(letters):
        return UNKNOWN
    if scripts["HIRAGANA"] + scripts["KATAKANA"]:
        return "ja"
    script, _ = scripts.most_common(1)[0]
    return _SCRIPTS.get(script, UNKNOWN)


def checked(text: str, profile: Profile) -> str:
    """The language of a text that may be looked at.

    Raises:
        LanguageRefused: The profile refuses texts in other languages than its own, and this seems to be in one.
    """
    found = language(text)
    if profile.refuses_others and found not in profile.languages and found != UNKNOWN:
        known = ", ".join(f"'{one}'" for one in sorted(profile.languages))
        raise LanguageRefused(
            f"the text seems to be in language '{found}', and profile '{profile.name}' takes only {known}, in "
            f"which the detectors were measured; add the language to the profile to take its texts all the same"
        )
    return found
