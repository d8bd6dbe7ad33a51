"""Kinds: the sinks that there are, by the word that a configuration has for each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from pydantic import ValidationError

from flujo_audit_advanced.export.sink import Sink
from flujo_core import ConfigurationError

HOMES: Final[Mapping[str, tuple[str, str]]] = {
    "cloudevents": ("cloudevents", "CloudEvents"),
    "jsonl": ("jsonl", "JsonLines"),
    "kafka": ("kafka", "Kafka"),
    "otlp": ("otlp", "Otlp"),
    "postgres": ("postgres", "Postgres"),
    "s3": ("s3", "S3"),
    "splunk": ("splunk", "Splunk"),
    "syslog": ("syslog", "Syslog"),
}
"""The module of each kind, and how the names of its sink and options begin."""


def sink_of(table: Mapping[str, Any]) -> Sink:
    """The sink that a table describes: its ``kind``, and the options of that.

    Raises:
        ConfigurationError: There is no such kind, or an option is not one.
    """
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in HOMES:
        known = ", ".join(f"'{one}'" for one in HOMES)
        raise ConfigurationError(f"an export of the audit has no 'kind' that there is; it is one of {known}")
    name, start = HOMES[kind]
    module = import_module(f"flujo_audit_advanced.export.{name}")
    try:
        options = getattr(module, f"{start}Options").model_validate(dict(table))
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, flaw["loc"]))
        raise ConfigurationError(f"'{place}' of the export to '{kind}' is not right: {flaw['msg'].lower()}") from None
    sink: Sink = getattr(module, f"{start}Sink")(options)
    return sink
