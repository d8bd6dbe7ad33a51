"""Documents: YAML and JSON, read safely."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flujo_core import ConfigurationError, DefinitionError
from flujo_core.agents.document import Document
from flujo_core.agents.yaml_text import written


def read(source: str | Path) -> Any:
    return Document(source, "the spec", "role: reviewer").data


def test_json_and_yaml_hold_the_same() -> None:
    assert read('{"a": [1, true]}') == read("a: [1, true]") == read("{a: [1, true]}") == {"a": [1, True]}


def test_words_that_were_bools_before_yaml_1_2_are_texts() -> None:
    assert read("on: yes\nno: off\nt: TRUE\nf: false\nn: null") == {
        "on": "yes", "no": "off", "t": True, "f": False, "n": None,
    }  # fmt: skip


def test_what_is_merged_is_no_second_key() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more\n  <<: *base\n  a: 3\nmost:\n  <<: *more\n  <<: {c: 4}\n  a: 5\n"
    assert read(text)["most"] == {"a": 5, "b": 2, "c": 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "cannot be read: line 3 has 'a' a second time"),
        ('{"a": {"b": 1, "b": 2}}', "the spec has 'b' twice in one place"),
        ('{"a": 1', "line 1, column 8 is not YAML"),
        ("a: [", "line 1, column 5 is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4 is not YAML"),
        ("a: 2026-13-45", "it is not YAML"),
        ("a: \x00", "it is not YAML"),
        ("[" * 3000, "it is too deep"),
        ('{"a": ' + "[" * 100_000, "it is too deep"),
        ("just text", "has names with values, such as 'role: reviewer'; it is a str"),
        ("", "it is a NoneType"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        read(text)


def test_a_file_is_read_by_its_ending(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("a: 1")
    with pytest.raises(DefinitionError, match="line 1, column 1 is not JSON"):
        read(file)
    file.write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(DefinitionError, match="it is too deep"):
        read(file)
    file.write_text("a: 1")
    assert read(file.rename(tmp_path / "a.yaml")) == {"a": 1}
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    with pytest.raises(DefinitionError, match="it is not UTF-8"):
        read(tmp_path / "b.yaml")
    with pytest.raises(DefinitionError, match="No such file"):
        read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("place", "line"),
    [((), 1), (("a",), 1), (("b",), 2), (("b", 1), 4), (("b", 1, "d"), 5), (("b", 1, "e"), 4), (("a", "x"), 1)],
)
def test_the_line_of_a_place_is_known(place: tuple[Any, ...], line: int) -> None:
    document = Document("a: 1\nb:\n- x\n- c: 1\n  d: 2\n", "the spec", "a: 1")
    assert document.line(place) == line
    assert Document('{"a": 1}', "the spec", "a: 1").line(place) is None


def test_without_pyyaml_json_is_read_and_yaml_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flujo_core.agents.yaml_text")
    assert read('{"a": 1}') == {"a": 1}
    with pytest.raises(ConfigurationError, match=r"pip install 'flujo-core\[yaml\]'"):
        read("a: 1")


def test_what_is_written_can_be_read_by_others_too() -> None:
    assert written({"b": "yes", "a": "é"}) == "b: 'yes'\na: é\n"
