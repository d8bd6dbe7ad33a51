"""The stores of the kernel's trials of killed processes: each trial's place is a schema of the server."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from flujo_postgres import PostgresStore

URL = os.environ["FLUJO_POSTGRES_TRIALS"]


def trial_store(place: Path) -> PostgresStore:
    """The store of a trial, by the file that it would be in."""
    return PostgresStore(f"{URL}?schema=t{sha256(str(place).encode()).hexdigest()[:32]}")
