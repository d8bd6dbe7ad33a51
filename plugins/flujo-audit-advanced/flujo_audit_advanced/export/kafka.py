"""Kafka: records on a topic, in the order of the log, each once as far as the broker sees to that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from flujo_audit_advanced.export.format import Format, line_of
from flujo_audit_advanced.export.http import secret_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed
from flujo_core import ConfigurationError

OURS: Final = frozenset(("enable.idempotence", "acks", "delivery.timeout.ms"))


class KafkaOptions(Options):
    """Options of the sink ``kafka``.

    Attributes:
        servers: The brokers: ``kafka-1:9093,kafka-2:9093``.
        topic: The topic.
        settings: More settings of librdkafka, such as ``security.protocol``.
        password_variable: The environment variable with ``sasl.password``, or None.
        format: What stands in a message.
        timeout: Seconds in which all brokers that count have to have it.
    """

    kind: Literal["kafka"] = "kafka"
    servers: str
    topic: str
    settings: Mapping[str, str | int | bool] = {}
    password_variable: str | None = None
    format: Format = "record"
    timeout: float = 20.0


class KafkaSink:
    """Produces messages whose key is the name of the log, so that they keep their order in one partition.

    Args:
        options: Where.

    Raises:
        ConfigurationError: There is no such library, or a setting is not one.
    """

    def __init__(self, options: KafkaOptions) -> None:
        if taken := OURS & options.settings.keys():
            raise ConfigurationError(f"'{min(taken)}' of the export to 'kafka' is set already, so that nothing is lost")
        self._options, self._producer = options, None
        self._library = _library()
        self._settings: dict[str, Any] = {
            "bootstrap.servers": options.servers,
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": int(options.timeout * 1000),
            **options.settings,
        }
        if options.password_variable is not None:
            self._settings["sasl.password"] = secret_of(options.password_variable, "password for Kafka")

    async def send(self, records: Sequence[Exported], /) -> None:
        """Produces messages, and waits until all of them are acknowledged."""
        await asyncio.to_thread(self._produce, records)

    async def aclose(self) -> None:
        """Lets go of the producer."""
        self._producer = None

    def _produce(self, records: Sequence[Exported]) -> None:
        failed: list[str] = []
        arrived: list[int] = []

        def told(error: Any, message: Any) -> None:
            if error is None:
                arrived.append(1)
            else:
                failed.append(error.name())

        try:
            producer = self._made()
            for one in records:
                producer.produce(
                    self._options.topic,
                    key=one.origin.encode(),
                    value=line_of(one, self._options.format).rstrip(),
                    headers={"id": one.fields["id"].encode(), "number": str(one.number).encode()},
                    on_delivery=told,
                )
            producer.flush(self._options.timeout)
        except (self._library.KafkaException, BufferError) as error:
            self._drop()
            raise SinkFailed(f"Kafka has not taken it ({type(error).__name__})") from None
        if len(arrived) != len(records):
            self._drop()
            raise SinkFailed(
                f"Kafka has acknowledged {len(arrived)} of {len(records)} messages"
                + (f" ({failed[0]})" if failed else "")
            )

    def _made(self) -> Any:
        if self._producer is None:
            self._producer = self._library.Producer(self._settings, logger=_quiet())
        return self._producer

    def _drop(self) -> None:
        """What is still under way must not come behind what is sent again."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


def _quiet() -> Any:
    from logging import getLogger  # noqa: PLC0415

    return getLogger("flujo.audit.export.kafka")


def _library() -> Any:
    try:
        import confluent_kafka  # noqa: PLC0415 - of the extra 'kafka'
    except ImportError:
        raise ConfigurationError(
            "exports to Kafka need confluent-kafka; install 'flujo-audit-advanced[kafka]'"
        ) from None
    return confluent_kafka
