"""OTLP: records as log records of OpenTelemetry, over HTTP in protobuf (OTLP 1.x).

The exporters of OpenTelemetry's SDK drop what they cannot deliver and say nothing; here each batch's answer counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from flujo_audit_advanced.export.http import posted, secret_of
from flujo_audit_advanced.export.severity import severity
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed, SinkRefused
from flujo_audit_advanced.web import checked_url
from flujo_core import ConfigurationError

SEVERITIES: Final = {2: 21, 3: 17, 4: 13, 6: 9}
"""FATAL, ERROR, WARN, INFO, by the severities of syslog."""

WHO: Final = "the receiver of OTLP"


class OtlpOptions(Options):
    """Options of the sink ``otlp``.

    Attributes:
        url: The receiver: ``https://collector.example:4318``; records go to ``/v1/logs`` there.
        header: The name of a header with a secret, or None.
        header_variable: The environment variable with what stands in it.
        service: ``service.name``.
        timeout: Seconds in which the receiver has to answer.
    """

    kind: Literal["otlp"] = "otlp"
    url: str
    header: str | None = None
    header_variable: str = "FLUJO_AUDIT_OTLP_HEADER"
    service: str = "flujo"
    timeout: float = 10.0


class OtlpSink:
    """Posts records to a receiver of OTLP.

    Args:
        options: Where.

    Raises:
        ConfigurationError: There is no such library, or the URL is none.
    """

    def __init__(self, options: OtlpOptions) -> None:
        self._url, self._options = f"{checked_url(options.url, WHO)}/v1/logs", options
        self._headers = {"Content-Type": "application/x-protobuf"}
        if options.header is not None:
            self._headers[options.header] = secret_of(options.header_variable, f"value of '{options.header}'")
        self._service, self._common = _library()

    async def send(self, records: Sequence[Exported], /) -> None:
        """Posts records; all of them must have been accepted."""
        data = self._request(records).SerializeToString()
        answer = await posted(self._url, data, self._headers, self._options.timeout, WHO)
        told = self._service.ExportLogsServiceResponse()
        try:
            told.ParseFromString(answer.body)
        except Exception:  # protobuf's own error, whose module has another name in each version
            raise SinkFailed(f"{WHO} gave an answer that is not its own") from None
        if told.partial_success.rejected_log_records:
            raise SinkRefused(f"{WHO} rejected {told.partial_success.rejected_log_records} records of the batch")

    async def aclose(self) -> None:
        """No connection is open between two batches."""

    def _request(self, records: Sequence[Exported]) -> Any:
        request = self._service.ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        self._attribute(resource.resource.attributes, "service.name", self._options.service)
        scope = resource.scope_logs.add()
        scope.scope.name = "flujo.audit"
        for one in records:
            self._fill(scope.log_records.add(), one)
        return request

    def _fill(self, made: Any, one: Exported) -> None:
        fields = one.fields
        made.time_unix_nano = made.observed_time_unix_nano = fields["at"] * 1000
        made.severity_number, made.event_name = SEVERITIES[severity(fields)], fields["kind"]
        made.body.string_value = one.data.decode()
        told = {"log.record.uid": fields["id"], "flujo.audit.origin": one.origin, "flujo.audit.number": one.number}
        told |= {f"flujo.{name}": fields[name] for name in ("run", "tenant", "address") if name in fields}
        for name, value in told.items():
            self._attribute(made.attributes, name, value)

    def _attribute(self, attributes: Any, name: str, value: str | int) -> None:
        how = {"int_value": value} if isinstance(value, int) else {"string_value": value}
        attributes.append(self._common.KeyValue(key=name, value=self._common.AnyValue(**how)))


def _library() -> tuple[Any, Any]:
    try:
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service  # noqa: PLC0415
        from opentelemetry.proto.common.v1 import common_pb2 as common  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "exports by OTLP need opentelemetry-proto; install 'flujo-audit-advanced[otlp]'"
        ) from None
    return service, common
