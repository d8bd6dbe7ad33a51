"""The table ``[plugins.flujo-deidentifier]`` of the configuration, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flujo_core import ConfigurationError
from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.vault_sqlite import SqliteVaultStore


class Table(BaseModel):
    """What the configuration says.

    Attributes:
        vault: The file of the vault: a run that another process goes on with needs its values.
        profile: The name of the profile.
        detectors: The names of the detectors; None: all that are installed.
        tools: The names of tools that are given values.
        keep: Seconds for which values are kept after they were last met; None: until they are erased.
        timeout: Seconds that each detector may take for one text.
        journal: What the store keeps: ``tokens``, or ``values``.
        session: In what the same value has the same token: ``run``, or ``subject``.
        trusted: The names of steps whose agents of other libraries are given values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vault: str = Field(min_length=1)
    profile: str = "hipaa-safe-harbor"
    detectors: list[str] | None = None
    tools: list[str] = []
    keep: float | None = Field(None, gt=0)
    timeout: float = Field(30.0, gt=0)
    journal: Literal["tokens", "values"] = "tokens"
    session: Literal["run", "subject"] = "run"
    trusted: list[str] = []


def table_of(given: Mapping[str, Any]) -> Table:
    """The table, if all of it can be.

    Raises:
        ConfigurationError: It lacks something, or says something that means nothing.
    """
    try:
        return Table.model_validate(dict(given))
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, flaw["loc"]))
        raise ConfigurationError(f"'{place}' of the de-identifier is not right: {flaw['msg'].lower()}") from None


def deidentifier_of(table: Table) -> Deidentifier:
    """The de-identifier that a table describes; its key is in ``FLUJO_DEIDENTIFIER_KEY``.

    Raises:
        ConfigurationError: There is no such profile or detector.
    """
    store = SqliteVaultStore(table.vault)
    return Deidentifier(table.profile, vault=store, detectors=table.detectors, timeout=table.timeout, keep=table.keep)
