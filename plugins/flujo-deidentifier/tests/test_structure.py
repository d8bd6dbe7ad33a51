"""Values by the names of their fields."""

import base64
import json

import pytest
from flujo_deidentifier.structure import StructureDetector

DETECTOR = StructureDetector()


def found(text: str) -> set[tuple[str, str]]:
    return {(text[span.start : span.end], span.label) for span in DETECTOR.detect(text)}


PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Okafor", "given": ["Ngozi", "Ada"]}],
    "birthDate": "1974-12-25",
}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (json.dumps(PATIENT), {("Okafor", "PERSON"), ("Ngozi", "PERSON"), ("Ada", "PERSON"), ("1974-12-25", "DATE")}),
        (
            json.dumps({"payload": json.dumps(PATIENT)}),
            {("Okafor", "PERSON"), ("Ngozi", "PERSON"), ("1974-12-25", "DATE")},
        ),
        ('{"mrn": 88049}', {("88049", "ID")}),
        ("<patient><name>Ann Lee</name><dob>1 May</dob></patient>", {("Ann Lee", "PERSON"), ("1 May", "DATE")}),
        ('<birthDate value="1974-12-25"/>', {("1974-12-25", "DATE")}),
        ("name,dob\nAnn Lee,1 May\nBob Roy,2 May", {("Ann Lee", "PERSON"), ("Bob Roy", "PERSON"), ("2 May", "DATE")}),
        ('id;email\n1;"a@b.org"', {("a@b.org", "EMAIL")}),
        ("PID|1||88049^^^MR||OKAFOR^NGOZI||19741225|F", {("88049", "ID"), ("OKAFOR", "PERSON"), ("19741225", "DATE")}),
        ("https://x.org/?name=Ann+Lee&dob=1974", {("Ann+Lee", "PERSON"), ("1974", "DATE")}),
        ("q=ann%40example.org", {("ann%40example.org", "EMAIL")}),
    ],
)
def test_values_of_telling_fields_are_found(text: str, values: set[tuple[str, str]]) -> None:
    assert values <= found(text)


def test_what_base64_hides_is_found_as_a_whole() -> None:
    token = base64.b64encode(b"mail ann.lee@example.org today").decode()
    assert (token, "EMAIL") in found(f"data: {token}")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "get_weather", "count": 3}',
        "<name>user_id</name>",
        "a,b\n1,2",
        "x=1&y=2",
        "checksum: deadbeefdeadbeefdeadbeef",
    ],
)
def test_other_fields_are_left(text: str) -> None:
    assert found(text) == set()
