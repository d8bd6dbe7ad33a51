"""What has a form of its own: found with its label, and not where only the form is there."""

import pytest
from flujo_deidentifier.patterns import PatternDetector

DETECTOR = PatternDetector()


def found(text: str, least: float = 0.5) -> set[tuple[str, str]]:
    return {(text[span.start : span.end], span.label) for span in DETECTOR.detect(text) if span.score >= least}


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("mail a.b+c@example.co.uk now", "a.b+c@example.co.uk", "EMAIL"),
        ("write to ann dot lee at example dot org", "ann dot lee at example dot org", "EMAIL"),
        ("ann [at] example [dot] org", "ann [at] example [dot] org", "EMAIL"),
        ("see https://x.org/a?b=c.", "https://x.org/a?b=c", "URL"),
        ("profile linkedin.com/in/annlee;", "linkedin.com/in/annlee", "URL"),
        ("from 10.20.30.40 at", "10.20.30.40", "IP"),
        ("from 2001:db8:0:1:1:1:1:1 at", "2001:db8:0:1:1:1:1:1", "IP"),
        ("mac 00:1B:44:11:3A:B7.", "00:1B:44:11:3A:B7", "ID"),
        ("ssn 123-45-6789", "123-45-6789", "SSN"),
        ("SSN: 5 5 5 - 1 2 - 3 4 5 6 x", "5 5 5 - 1 2 - 3 4 5 6", "SSN"),
        ("my social is 685546137", "685546137", "SSN"),
        ("card 4111 1111 1111 1111.", "4111 1111 1111 1111", "CREDIT_CARD"),
        ("pay GB82 WEST 1234 5698 7654 32 now", "GB82 WEST 1234 5698 7654 32", "IBAN"),
        ("call (310) 555-1234 today", "(310) 555-1234", "PHONE"),
        ("call +49 30 1234567", "+49 30 1234567", "PHONE"),
        ("at 685-8177 x944 asking", "685-8177 x944", "PHONE"),
        ("Phone: 089 72 63 41", "089 72 63 41", "PHONE"),
        ("on 2 October 1998.", "2 October 1998", "DATE"),
        ("on May 30th, 2022 (", "May 30th, 2022", "DATE"),
        ("born 1961-06-30", "1961-06-30", "DATE"),
        ("on 31.12.1999,", "31.12.1999", "DATE"),
        ("Tuesday, April 07 at", "Tuesday, April 07", "DATE"),
        ("between 11-13 May 1994 it", "11-13 May 1994", "DATE"),
        ("seen 02/10 in clinic", "02/10", "DATE"),
        ("will come on 5/12 again", "5/12", "DATE"),
        ("last seen Wed 2/19 by", "Wed 2/19", "DATE"),
        ("mammogram 08/2016, then", "08/2016", "DATE"),
        ("surgery in Dec '09, and", "Dec '09", "DATE"),
        ("admitted Jul 18-21, 2006;", "Jul 18-21, 2006", "DATE"),
        ("revised in spring of 2011.", "spring of 2011", "DATE"),
        ("the card expires 06/36.", "06/36", "DATE"),
        ("call me on 06 52 07 63 46.", "06 52 07 63 46", "PHONE"),
        ("the number is 637 91 56 34.", "637 91 56 34", "PHONE"),
        ("SSN ending 8979 was", "8979", "ID"),
        ("card ending in 1357 was", "1357", "ID"),
        ("NI FH 72 02 89 A and", "FH 72 02 89 A", "ID"),
        ("file no. K 093/12.", "K 093/12", "ID"),
        ("decision no. 8-102/22 of", "8-102/22", "ID"),
        ("It's linna.fi.", "linna.fi", "URL"),
        ("VIN 1HGCM82633A004352", "1HGCM82633A004352", "ID"),
        ("MRN: 12345XJ", "12345XJ", "ID"),
        ("(MRN: #NY-123456)", "#NY-123456", "ID"),
        ("vehicle plate LBW 048,", "LBW 048", "ID"),
        ("at 123 Main St, Apt 4B, now", "123 Main St, Apt 4B", "ADDRESS"),
        ("mail PO Box 5084,", "PO Box 5084", "ADDRESS"),
        ("My zip code is 35649", "35649", "ADDRESS"),
        ("Reseda, CA 91335", "91335", "ADDRESS"),
        ("key sk-proj-abcdefghijklmnopqrstuv", "sk-proj-abcdefghijklmnopqrstuv", "SECRET"),
        ("password: hunter2!x", "hunter2!x", "SECRET"),
        ("postgres://app:s3cret@db/x", "s3cret", "SECRET"),
    ],
)
def test_a_value_is_found_with_its_label(text: str, value: str, label: str) -> None:
    assert (value, label) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "BP 120/80, HR 76, SpO2 96% on room air",
        "CHA2DS2-VASc score of 3, HbA1c 7.9%",
        "metformin 500 mg twice daily for 7 days",
        "COVID-19 and H1N1 vaccines, BRCA1 positive",
        "version 1.2.3.4567 of the tool",
        "Apgar 8/9, GCS 15, EF 45%",
        "potassium 4.1 mmol/L, sodium 139",
        "a 3-0 win in the 2nd half",
        "the year of 365 days",
        "1.73m2 body surface",
    ],
)
def test_doses_scores_and_codes_are_left(text: str) -> None:
    assert found(text) == set()


def test_checksums_are_checked() -> None:
    assert ("4111 1111 1111 1112", "CREDIT_CARD") not in found("number 4111 1111 1111 1112")
    assert ("GB82 WEST 1234 5698 7654 33", "IBAN") not in found("pay GB82 WEST 1234 5698 7654 33")


def test_ages_tell_whether_they_are_over_89() -> None:
    rules = {
        text: [span.rule for span in DETECTOR.detect(text)]
        for text in ("a 93-year-old", "a 45-year-old", "91 female from")
    }
    assert rules == {"a 93-year-old": ["age-over-89"], "a 45-year-old": ["age"], "91 female from": ["age-over-89"]}
