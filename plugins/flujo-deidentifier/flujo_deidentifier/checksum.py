"""Checksums and ranges: whether a number can be what it looks like."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

_IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
_VIN_VALUES: Final = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True))
_VIN_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def digits_of(text: str) -> str:
    """The ASCII digits of a text, in order."""
    return "".join(one for one in text if "0" <= one <= "9")


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others, by Luhn's rule."""
    total = 0
    if not _is_digits(digits):
        return False
    for place, one in enumerate(reversed(digits)):
        value = int(one) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def luhn_digit(digits: str) -> str:
    """The check digit that makes ``digits`` and it right by Luhn's rule."""
    return next(one for one in "0123456789" if luhn(digits + one))


def is_card(digits: str) -> bool:
    """Whether these are the digits of a payment card: a known beginning, a length that occurs, and the check digit."""
    return 12 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn(digits)


def is_iban(text: str) -> bool:
    """Whether a text without spaces is an IBAN: its country's length, and the rest modulo 97."""
    return (
        text.isascii()
        and text.isalnum()
        and _IBAN_LENGTHS.get(text[:2]) == len(text)
        and iban_rest(text[4:] + text[:4]) == 1
    )


def iban_rest(text: str) -> int:
    """The number that letters and digits stand for, modulo 97."""
    return int("".join(str(int(one, 36)) for one in text)) % 97


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_ssn(digits: str) -> bool:
    """Whether the Social Security Administration could have given nine digits to somebody."""
    return (
        len(digits) == 9
        and _is_digits(digits)
        and digits[:3] not in ("000", "666")
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )


def is_npi(digits: str) -> bool:
    """Whether ten digits are a National Provider Identifier."""
    return len(digits) == 10 and digits[0] in "12" and luhn("80840" + digits)


def vin_digit(text: str) -> str:
    """The check character that belongs to the ninth place of a vehicle identification number."""
    total = sum(
        (int(one) if one.isdigit() else _VIN_VALUES[one]) * weight
        for one, weight in zip(text, _VIN_WEIGHTS, strict=True)
    )
    return "0123456789X"[total % 11]


def is_vin(text: str) -> bool:
    """Whether 17 characters are a vehicle identification number with the right check character."""
    is_one = (
        len(text) == 17 and text.isascii() and text.isalnum() and text == text.upper() and not set(text) & set("IOQ")
    )
    return is_one and text[8] == vin_digit(text)
