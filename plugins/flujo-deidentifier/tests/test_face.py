"""The public face, as it is told of: finding without key and vault, twins of everything, and steps by their names."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import flujo_deidentifier as face
import pytest
from flujo_deidentifier import Deidentifier, DeidentifierKeyMissing, DeidentifierPlugin
from pipeline_kit import ALONE, KEY, done, engine

from flujo_core import Flujo, pipeline_from_spec
from flujo_core.errors import ConfigurationError

TEXT = "Dr. Anna Novak (MRN 12345678) wrote from anna@example.org."


@pytest.fixture
def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUJO_DEIDENTIFIER_KEY", raising=False)


def test_finding_needs_no_key_and_no_vault(without_key: None) -> None:
    made = Deidentifier(profile="gdpr", detectors=["patterns", "lists"])
    spans = made.find(TEXT)
    assert not inspect.iscoroutine(spans)
    (email,) = [one for one in spans if one.label == "EMAIL"]
    assert TEXT[email.start : email.end] == "anna@example.org"
    assert 0 < email.score <= 1
    with pytest.raises(DeidentifierKeyMissing):
        made.deidentify(TEXT, session="s")
    with pytest.raises(ConfigurationError, match="nosuch"):
        Deidentifier(detectors=["nosuch"])


def test_detectors_are_the_ones_that_are_named() -> None:
    labels = {one.label for one in Deidentifier(detectors=["patterns"]).find(TEXT)}
    assert "EMAIL" in labels
    assert "PERSON" not in {one.label for one in Deidentifier(detectors=["patterns"]).find("Mary Jones was there.")}


def test_each_has_its_twins() -> None:
    made = Deidentifier(key=KEY, detectors=["patterns", "lists"])

    async def pieces(text: str) -> AsyncIterator[str]:
        for one in text:
            yield one

    async def main() -> None:
        masked = await made.deidentify_async(TEXT, session="s", tenant="t")
        assert masked == made.deidentify(TEXT, session="s", tenant="t")
        assert "Novak" not in masked
        assert await made.restore_async(masked, session="s", tenant="t") == TEXT
        assert made.restore(masked, session="s", tenant="t") == TEXT
        assert "".join(made.restore_stream(masked, session="s", tenant="t")) == TEXT
        said = [one async for one in made.restore_stream_async(pieces(masked), session="s", tenant="t")]
        assert "".join(said) == TEXT

    done(main())


def test_specs_name_the_steps(tmp_path: Path) -> None:
    uses = ({"use": f"deidentifier/{name}", "takes": "str", "gives": "str"} for name in ("deidentify", "reidentify"))
    spec = {"format": "flujo/1", "steps": [*uses]}
    made: Any = pipeline_from_spec(spec)
    flujo: Any = Flujo(made, plugins=[DeidentifierPlugin(engine(tmp_path))], settings=ALONE)
    assert flujo.run("I am John Smith.").output == "I am John Smith."
    assert b"Smith" not in (tmp_path / "vault.db").read_bytes()


def test_nothing_of_the_face_is_without_words() -> None:
    things = [getattr(face, name) for name in face.__all__]
    assert all(inspect.getdoc(one) for one in things if inspect.isclass(one) or inspect.isfunction(one))
