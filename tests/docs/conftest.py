"""What the tests of the documentation share: no page and no notebook reaches anything beyond this machine."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

CONNECT = socket.socket.connect


def connect_here(self: socket.socket, address: Any, /) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
        raise AssertionError(f"an example connects to {address[0]}; examples run without a network")
    CONNECT(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of this process to other machines fail."""
    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of whoever runs the tests, and one thread for the local model: more are slower when all run."""
    for name in ("FLUJO_PLUGINS", "OPENAI_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    # the pages that lock plugins have no editable one
    monkeypatch.setenv("FLUJO_DISABLE", "flujo-audit-advanced,flujo-deidentifier,flujo-postgres")
    monkeypatch.setenv("FLUJO_LOCAL_MODEL_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
