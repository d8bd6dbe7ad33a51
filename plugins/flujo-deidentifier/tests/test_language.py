"""The language of a text, and what becomes of one that the detectors do not know."""

from dataclasses import replace

import pytest
from flujo_deidentifier import PROFILES, Finder, LanguageRefused
from flujo_deidentifier.language import language

SPANISH = "El paciente acude por dolor en el pecho desde hace dos días, sin fiebre, con su mujer y los hijos."


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The patient is well.", "en"),
        (SPANISH, "es"),
        ("Le requérant est né en 1966 et réside dans la ville.", "fr"),
        ("Der Patient ist mit der Frau und dem Kind gekommen.", "de"),
        ("Пациент поступил вчера", "ru"),
        ("患者は昨日入院した", "ja"),
        ("Ann Lee", ""),
        ("12 Rue de Rivoli", ""),
        ("", ""),
    ],
)
def test_languages_are_told_apart(text: str, code: str) -> None:
    assert language(text) == code


def test_finds_in_another_language_are_flagged() -> None:
    finder = Finder("gdpr", detectors=["patterns"])
    assert finder.find(SPANISH).weak and finder.find(SPANISH).language == "es"
    assert not finder.find("The patient is well.").weak


def test_a_profile_may_refuse_other_languages() -> None:
    strict = replace(PROFILES["gdpr"], refuses_others=True)
    with pytest.raises(LanguageRefused, match="'es'"):
        Finder(strict, detectors=["patterns"]).find(SPANISH)
    Finder(replace(strict, languages=frozenset({"en", "es"})), detectors=["patterns"]).find(SPANISH)
