"""Field: what the name of a field says of its value: ``birthDate``, ``patient_name``, ``SSN``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from flujo_deidentifier.lexicon import entries

_NAMES: Final = {
    "PERSON": (
        "firstname lastname middlename fullname givenname familyname surname maidenname patientname membername"
        " customername"
        " username nickname displayname given family patient physician provider doctor nurse attending surgeon"
        " contactname"
        " mothername fathername spouse guarantor subscribername employeename holder cardholder accountholder"
        " author recipient"
        " sender name first last middle mothersmaidenname attendingphysician emergencycontact fname lname"
    ),
    "DATE": (
        "dob dateofbirth birthdate birthday birthdatetime deceaseddatetime dateofdeath admissiondate"
        " dischargedate admitdate"
        " visitdate servicedate dateofservice appointmentdate date birth born"
    ),
    "SSN": "ssn socialsecuritynumber socialsecurity socialsecurityno itin taxid",
    "PHONE": (
        "phone phonenumber telephone mobile mobilephone cell cellphone fax"
        " faxnumber homephone workphone tel phoneno contactnumber"
    ),
    "EMAIL": "email emailaddress mail electronicmail",
    "ADDRESS": (
        "address street streetaddress addressline line line1 line2 address1 address2 zip zipcode postalcode"
        " postcode homeaddress"
        " mailingaddress billingaddress shippingaddress"
    ),
    "LOCATION": "city town county birthplace placeofbirth village district suburb",
    "ID": (
        "mrn medicalrecordnumber patientid memberid accountnumber account acct policynumber policy"
        " licensenumber license licence"
        " passport passportnumber vin plate licenseplate serialnumber deviceid npi dea insuranceid subscriberid"
        " beneficiaryid"
        " driverslicense employeeid studentid customerid nationalid claimnumber bankaccount routingnumber"
        " fingerprint biometric"
    ),
    "IP": "ip ipaddress remoteaddr clientip",
    "URL": "url website homepage profileurl",
    "IBAN": "iban",
    "CREDIT_CARD": "creditcard creditcardnumber cardnumber ccnumber pan cc",
    "SECRET": "password passwd secret apikey token accesstoken secretkey privatekey clientsecret authorization",
}
_LABELS: Final = {name: label for label, names in _NAMES.items() for name in names.split()}
_BARE: Final = frozenset(
    {
        "name",
        "first",
        "last",
        "middle",
        "given",
        "family",
        "patient",
        "holder",
        "author",
        "sender",
        "recipient",
        "provider",
        "contact",
        "birth",
        "line",
        "date",
    }
)
_NAME_LIKE = re.compile(r"[^\W\d_]['\u2019.\w-]*(?:[ ,]+[^\W\d_]['\u2019.\w-]*){0,4}")


@lru_cache(maxsize=4096)
def label_of(field: str) -> str | None:
    """The label of the values of a field, by its name; None: it says nothing."""
    return _LABELS.get("".join(one for one in field.lower() if one.isalpha()))


def fits(field: str, label: str, value: str) -> bool:
    """Whether a value can be what the name of its field says; ``name`` may be the name of anything."""
    if not value.strip() or value.strip().lower() in ("null", "none", "true", "false", "n/a", "unknown", "string"):
        return False
    if label == "PERSON":
        if not _NAME_LIKE.fullmatch(value.strip()):
            return False
        return field.lower() not in _BARE or _personal(value)
    return label not in ("DATE", "ID", "PHONE", "SSN", "IP", "CREDIT_CARD") or any(one.isdigit() for one in value)


def _personal(value: str) -> bool:
    words = re.findall(r"[^\W\d_]+", value.lower())
    return any(word in entries("given-names") or word in entries("surnames") for word in words) or (
        value.istitle() and not all(word in entries("words") for word in words)
    )
