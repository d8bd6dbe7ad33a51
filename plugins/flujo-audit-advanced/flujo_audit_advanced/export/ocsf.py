"""OCSF: records as events of the Open Cybersecurity Schema Framework 1.8.0 (schema.ocsf.io), for sinks told to do so.

What an agent asks of models and tools, and what people answer, is API Activity (6003); all else is Application
Lifecycle (6002). The whole record stands in ``raw_data``, whose bytes are what the log proves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flujo_audit_advanced.export.severity import severity
from flujo_audit_advanced.export.sink import Exported

VERSION: Final = "1.8.0"
APPLICATION: Final = 6
LIFECYCLE: Final = 6002
API: Final = 6003
OTHER: Final = 99
START, STOP = 3, 4
STARTS: Final = ("app.started", "run.started", "run.resumed")
CALLS: Final = ("model.", "tool.", "call.", "question.", "vote.")
SEVERITIES: Final = {2: (5, "Critical"), 3: (4, "High"), 4: (3, "Medium"), 6: (1, "Informational")}
"""The ids and names of OCSF, by the severities of syslog."""


def ocsf_event(one: Exported) -> dict[str, Any]:
    """A record as an event: ``metadata.uid`` is its id, ``metadata.sequence`` its number."""
    fields = one.fields
    kind = str(fields["kind"])
    of_api = kind.startswith(CALLS)
    class_uid, activity = (API, OTHER) if of_api else (LIFECYCLE, _lifecycle(kind))
    number, name = SEVERITIES[severity(fields)]
    event: dict[str, Any] = {
        "class_uid": class_uid,
        "category_uid": APPLICATION,
        "activity_id": activity,
        "activity_name": {START: "Start", STOP: "Stop"}.get(activity, kind),
        "type_uid": class_uid * 100 + activity,
        "time": fields["at"] // 1000,
        "severity_id": number,
        "severity": name,
        "message": kind,
        "raw_data": one.data.decode(),
        "metadata": _metadata(one, fields),
    }
    return event | (_call(one, fields) if of_api else {"app": _product()}) | _status(fields)


def _lifecycle(kind: str) -> int:
    if kind in STARTS:
        return START
    return STOP if kind == "run.ended" else OTHER


def _product() -> dict[str, Any]:
    return {"name": "Flujo", "vendor_name": "Flujo"}


def _metadata(one: Exported, fields: Mapping[str, Any]) -> dict[str, Any]:
    more = {"correlation_uid": fields["run"]} if "run" in fields else {}
    more |= {"tenant_uid": fields["tenant"]} if "tenant" in fields else {}
    return {
        "version": VERSION,
        "product": _product(),
        "log_name": one.origin,
        "uid": fields["id"],
        "sequence": one.number,
        "event_code": fields["kind"],
        **more,
    }


def _call(one: Exported, fields: Mapping[str, Any]) -> dict[str, Any]:
    approver = fields.get("approver")
    actor = {"user": {"name": approver}} if approver else {"app_name": "Flujo"}
    service = fields.get("model") or fields.get("tool")
    api = {"operation": fields["kind"]} | ({"service": {"name": service}} if service else {})
    return {"actor": actor, "api": api, "src_endpoint": {"svc_name": one.origin}}


def _status(fields: Mapping[str, Any]) -> dict[str, Any]:
    kind, status = str(fields["kind"]), fields.get("status")
    if kind.endswith((".failed", ".refused", ".lapsed")) or (kind == "run.ended" and status != "completed"):
        return {"status_id": 2, "status": "Failure"}
    ended = kind.endswith((".completed", ".answered", ".returned", ".ended"))
    return {"status_id": 1, "status": "Success"} if ended else {}
