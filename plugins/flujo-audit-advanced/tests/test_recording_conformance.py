"""The plugin keeps the contract of plugins while it records."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from flujo_audit_advanced.plugin import AuditPlugin
from recording_kit import recording

from flujo_core.testing import assert_conforms


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="flujo-audit-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_it_conforms_while_it_does_nothing() -> None:
    assert assert_conforms(AuditPlugin).remarks == ()


def test_it_conforms_while_it_records(folder: Path) -> None:
    numbers = count()

    def made() -> AuditPlugin:
        place = folder / str(next(numbers))
        place.mkdir()
        return AuditPlugin(recording(place))

    assert_conforms(made)
