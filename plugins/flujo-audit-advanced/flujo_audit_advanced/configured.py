"""The table ``[plugins.flujo-audit-advanced]`` of the configuration, and the recording that it describes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flujo_audit_advanced.anchor import Anchor
from flujo_audit_advanced.copies import FolderTarget, WriteOnceCopy
from flujo_audit_advanced.digest import KEY_VARIABLE, PAYLOAD_VARIABLE, key_in
from flujo_audit_advanced.export.running import exports_of
from flujo_audit_advanced.recording import ORIGIN, Recording
from flujo_audit_advanced.rule import Level, Mode, Rule
from flujo_audit_advanced.signer import LocalSigner, Signer
from flujo_audit_advanced.stamp import StampAuthority
from flujo_audit_advanced.transit import TransitSigner
from flujo_audit_advanced.witness import Witness, Witnesses
from flujo_core import ConfigurationError

PATH_VARIABLE = "FLUJO_AUDIT_PATH"
"""The environment variable that names another folder: of several processes, each needs one of its own."""

TOKEN_VARIABLE = "FLUJO_AUDIT_TRANSIT_TOKEN"
"""The environment variable that has the token for the key server."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TransitTable(_Part):
    """A key in a key server.

    Attributes:
        url: The server.
        key: The key's name.
        mount: Where the engine is mounted.
        version: The key's version; None: the newest.
    """

    url: str
    key: str
    mount: str = "transit"
    version: int | None = Field(None, gt=0)


class WitnessTable(_Part):
    """A witness.

    Attributes:
        url: Its submission prefix.
        key: Its verifier key.
    """

    url: str
    key: str


class StampTable(_Part):
    """An authority for timestamps.

    Attributes:
        url: Where it answers.
        roots: The file of the certificates that are trusted, in PEM.
        every: Seconds between two stamps.
    """

    url: str
    roots: Path
    every: float = Field(3600.0, gt=0)


class RuleTable(_Part):
    """A rule.

    Attributes:
        kinds: Patterns of kinds.
        mode: How surely they are kept.
        level: What stands for values.
    """

    kinds: list[str] = Field(min_length=1)
    mode: Mode = "batch"
    level: Level = "digest"


class Table(_Part):
    """What the configuration says.

    Attributes:
        path: The log's folder.
        origin: The log's name.
        key: The file of the key that signs, from ``flujo audit key``; or ``transit``.
        transit: The key server that has the key.
        digest_key: The file of the key of digests; None: it is in ``FLUJO_AUDIT_DIGEST_KEY``.
        payload_key: The file of the key of payloads; None: it is in ``FLUJO_AUDIT_PAYLOAD_KEY``, if a rule needs one.
        timeout: Seconds that a record may take to be durable.
        witnesses: Who cosigns checkpoints.
        quorum: How many of them have to.
        stamps: Who stamps checkpoints.
        copy_to: A folder that lets nobody change a file, for full tiles, records and checkpoints.
        rules: What is kept, and how.
        export: Where records are carried to: each has a ``kind``, a ``name``, and the options of that kind.
    """

    path: Path
    origin: str = ORIGIN
    key: Path | None = None
    transit: TransitTable | None = None
    digest_key: Path | None = None
    payload_key: Path | None = None
    timeout: float = Field(5.0, gt=0)
    witnesses: list[WitnessTable] = []
    quorum: int = Field(1, gt=0)
    stamps: StampTable | None = None
    copy_to: Path | None = Field(None, alias="copy")
    rules: list[RuleTable] = []
    export: list[dict[str, Any]] = []


def recording_of(given: Mapping[str, Any]) -> Recording:
    """The recording that a table describes.

    Raises:
        ConfigurationError: It lacks something, or says something that means nothing.
    """
    table = _table_of(given)
    return Recording(
        path=Path(os.environ.get(PATH_VARIABLE) or table.path),
        signer=_signer(table),
        digest_key=key_in(KEY_VARIABLE, table.digest_key),
        rules=tuple(Rule(tuple(one.kinds), one.mode, one.level) for one in table.rules),
        origin=table.origin,
        anchors=tuple(_anchors(table)),
        timeout=table.timeout,
        exports=exports_of(table.export),
        payload_key=_payload_key(table),
    )


def _payload_key(table: Table) -> bytes | None:
    wanted = table.payload_key is not None or any(one.level == "full" for one in table.rules)
    return key_in(PAYLOAD_VARIABLE, table.payload_key)[:32] if wanted else None


def _table_of(given: Mapping[str, Any]) -> Table:
    try:
        return Table.model_validate(dict(given))
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, flaw["loc"]))
        raise ConfigurationError(f"'{place}' of the audit is not right: {flaw['msg'].lower()}") from None


def _signer(table: Table) -> Signer:
    if (table.key is None) == (table.transit is None):
        raise ConfigurationError("the audit needs either 'key', a file that 'flujo audit key' made, or 'transit'")
    if table.key is not None:
        return LocalSigner.from_file(table.key)
    assert table.transit is not None
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise ConfigurationError(f"the environment variable '{TOKEN_VARIABLE}' has no token for the key server")
    told = table.transit
    return TransitSigner(told.url, told.key, token, mount=told.mount, version=told.version)


def _anchors(table: Table) -> Iterator[Anchor]:
    if table.witnesses:
        yield Witnesses([Witness(one.url, one.key) for one in table.witnesses], quorum=table.quorum)
    if (stamps := table.stamps) is not None:
        try:
            roots = stamps.roots.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"the certificates in '{stamps.roots}' cannot be read: {error.strerror}") from None
        yield StampAuthority(stamps.url, roots, every=stamps.every)
    if table.copy_to is not None:
        yield WriteOnceCopy(FolderTarget(table.copy_to))
