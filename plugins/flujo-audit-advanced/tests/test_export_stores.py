"""Exports to stores and brokers that enterprises run: real servers, or the mock cluster of Kafka's own library."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, Producer
from export_kit import Posted, PostgresServer, Server, free_port
from flujo_audit_advanced import Contradicted, LockedBucket, NotAnchored, S3Target, WriteOnceCopy, encode_record
from flujo_audit_advanced.export.cursor import Cursor
from flujo_audit_advanced.export.exporter import Exporter, Pace
from flujo_audit_advanced.export.kinds import sink_of
from flujo_audit_advanced.export.ocsf import ocsf_event
from flujo_audit_advanced.export.sink import Exported, SinkFailed, SinkRefused
from flujo_audit_advanced.rule import KINDS
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from flujo_core import ConfigurationError

QUICK = Pace(records=10, timeout=20, poll=0.05, first_wait=0.05, longest_wait=0.2, patience=0.5)


def exported(log: Path, sink: Any, pace: Pace = QUICK, cursor: str = "cursor") -> int:
    made = Exporter(log, sink, Cursor(log.parent / cursor), name="it", pace=pace)
    return asyncio.run(made.run(follow=False))


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A real server."""
    made = PostgresServer()
    yield made
    made.stop()


@pytest.fixture
def table(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An export to a table of its own."""
    monkeypatch.setenv("FLUJO_AUDIT_POSTGRES_URL", postgres.url)
    return {"kind": "postgres", "table": f"audit_{free_port()}", "create": True}


def asked(postgres: PostgresServer, query: str, *arguments: Any) -> list[Any]:
    async def main() -> list[Any]:
        connection = await asyncpg.connect(postgres.url)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    return asyncio.run(main())


def test_the_table_has_the_exact_bytes_and_the_same_records_are_there_once(
    kit: Any, postgres: PostgresServer, table: dict[str, Any]
) -> None:
    log = kit.made(30)
    assert exported(log, sink_of(table)) == 31
    assert exported(log, sink_of(table), cursor="again") == 31
    rows = asked(postgres, f"SELECT * FROM {table['table']} ORDER BY number")
    assert [bytes(row["record"]) for row in rows] == kit.records(log)
    assert rows[1]["id"] == "e0" and rows[1]["kind"] == "step.started"
    fields = asked(postgres, f"SELECT fields->>'id' AS id FROM {table['table']}_fields ORDER BY number")
    assert fields[1]["id"] == "e0"


@pytest.mark.parametrize("change", ["UPDATE {0} SET id = 'x'", "DELETE FROM {0}", "TRUNCATE {0}"])
def test_the_table_is_append_only(kit: Any, postgres: PostgresServer, table: dict[str, Any], change: str) -> None:
    exported(kit.made(3), sink_of(table))
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        asked(postgres, change.format(table["table"]))


def test_another_record_of_the_same_number_stops_the_export(
    kit: Any, postgres: PostgresServer, table: dict[str, Any]
) -> None:
    exported(kit.made(3), sink_of(table))
    with pytest.raises(SinkRefused, match="has another record 0: the table or the log was changed"):
        exported(kit.made(3, "other"), sink_of(table), cursor="other-cursor")


def test_a_server_that_is_away_is_tried_again_and_its_url_is_told_to_nobody(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_POSTGRES_URL", f"postgresql://flujo:s3cret@127.0.0.1:{free_port()}/postgres")
    with pytest.raises(SinkFailed, match="the PostgreSQL server has not taken it") as failed:
        exported(kit.made(3), sink_of({"kind": "postgres"}))
    assert "s3cret" not in str(failed.value)


def test_a_server_that_is_restarted_amid_an_export_gets_everything_once(
    kit: Any, postgres: PostgresServer, table: dict[str, Any]
) -> None:
    async def main() -> int:
        async with await kit.open(checkpoint_every=0.1) as log:
            cursor = Cursor(kit.folder / "cursor")
            exporter = Exporter(log.path, sink_of(table), cursor, name="it", pace=QUICK)
            exporting = asyncio.create_task(exporter.run(follow=True))
            for number in range(300):
                await log.append(kit.event(number))
                if number == 100:
                    await asyncio.to_thread(postgres.stop)
                if number == 200:
                    await asyncio.to_thread(postgres.start)
                await asyncio.sleep(0.003)
            await log.checkpoint()
            for _ in range(200):
                if (position := cursor.read()) is not None and position.next >= log.size:
                    break
                await asyncio.sleep(0.1)
            exporting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await exporting
            return log.size

    size = asyncio.run(main())
    rows = asked(postgres, f"SELECT number FROM {table['table']} ORDER BY number")
    assert [row["number"] for row in rows] == list(range(size))


@pytest.mark.parametrize("name", ["Audit", "audit; DROP TABLE x", "", "a" * 60])
def test_a_name_that_is_no_tables_is_refused(table: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match="is named with up to 41"):
        sink_of(table | {"table": name})


# ------------------------------------------------------------------------------------------------------------------ S3


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of moto's server, a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for _ in range(200):
            try:
                boto3.client("s3", endpoint_url=url).list_buckets()
                break
            except Exception:
                time.sleep(0.1)
        yield url
    process.terminate()
    process.wait(10)


def bucket(s3: str, name: str, *, locked: bool = True) -> Any:
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
    return client


def test_objects_have_the_records_and_cannot_be_deleted(kit: Any, s3: str) -> None:
    client = bucket(s3, "kept")
    log = kit.made(25)
    exported(log, sink_of({"kind": "s3", "bucket": "kept", "days": 30, "endpoint": s3}))
    objects = client.list_objects_v2(Bucket="kept")["Contents"]
    lines = [
        json.loads(line)
        for one in objects
        for line in client.get_object(Bucket="kept", Key=one["Key"])["Body"].read().splitlines()
    ]
    assert [one["number"] for one in lines] == list(range(26)) and lines[1]["record"]["id"] == "e0"
    assert objects[0]["Key"] == f"audit/flujo.test/audit/{0:020}.jsonl"
    head = client.head_object(Bucket="kept", Key=objects[0]["Key"])
    assert head["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="kept", Key=objects[0]["Key"], VersionId=head["VersionId"])


def test_the_same_object_is_put_once_and_another_one_stops_the_export(kit: Any, s3: str) -> None:
    client = bucket(s3, "once")
    told = {"kind": "s3", "bucket": "once", "days": 1, "endpoint": s3, "mode": "GOVERNANCE"}
    log = kit.made(5)
    exported(log, sink_of(told))
    kit.made(5)
    exported(log, sink_of(told), cursor="again")
    versions = client.list_object_versions(Bucket="once")["Versions"]
    assert sorted(one["Key"][-8:-6] for one in versions) == ["00", "06", "10"]
    with pytest.raises(SinkRefused, match="has another object"):
        exported(kit.made(5, "other"), sink_of(told), cursor="cursor-2")


def test_a_bucket_without_object_lock_is_refused(kit: Any, s3: str) -> None:
    bucket(s3, "loose", locked=False)
    with pytest.raises(SinkRefused, match="has no Object Lock"):
        exported(kit.made(3), sink_of({"kind": "s3", "bucket": "loose", "days": 1, "endpoint": s3}))
    with pytest.raises(ConfigurationError, match="is at least 1"):
        sink_of({"kind": "s3", "bucket": "loose", "days": 0, "endpoint": s3})


def test_a_bucket_is_a_target_of_write_once_copies(kit: Any, s3: str) -> None:
    client = bucket(s3, "copies")
    target = S3Target(LockedBucket("copies", days=30, endpoint=s3))
    kit.made(600, anchors=[WriteOnceCopy(target, every=0)])
    names = [one["Key"] for one in client.list_objects_v2(Bucket="copies")["Contents"]]
    assert "audit-copy/tile/entries/000" in names and any("/checkpoints/" in name for name in names)
    assert target.newest() == max(names, key=lambda name: ("checkpoints" in name, name)).removeprefix("audit-copy/")
    assert target.get("tile/entries/000") == (kit.folder / "log" / "tile" / "entries" / "000").read_bytes()
    assert target.get("none") is None
    target.put("tile/entries/000", target.get("tile/entries/000") or b"")
    with pytest.raises(Contradicted, match="the log was rewritten"):
        target.put("tile/entries/000", b"another")
    with pytest.raises(NotAnchored, match=r"has no Object Lock|could not be written"):
        S3Target(LockedBucket("nowhere", days=30, endpoint=s3)).put("x", b"")


def test_a_bucket_that_is_not_there_is_tried_again(kit: Any, s3: str) -> None:
    with pytest.raises(SinkFailed, match="'nowhere' has not taken it"):
        exported(kit.made(3), sink_of({"kind": "s3", "bucket": "nowhere", "days": 1, "endpoint": s3}))


# ---------------------------------------------------------------------------------------------------------------- OTLP


class Receiver:
    """A receiver of OTLP that reads requests with OpenTelemetry's own messages."""

    def __init__(self, rejected: int = 0) -> None:
        self.logs: list[Any] = []
        self._rejected = rejected

    def __call__(self, post: Posted) -> tuple[int, bytes]:
        request = ExportLogsServiceRequest()
        request.ParseFromString(post.body)
        response = ExportLogsServiceResponse()
        response.partial_success.rejected_log_records = self._rejected
        if not self._rejected:
            for resource in request.resource_logs:
                assert resource.resource.attributes[0].value.string_value == "flujo"
                self.logs += resource.scope_logs[0].log_records
        return 200, response.SerializeToString()


def test_a_receiver_of_otlp_gets_log_records(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_OTLP_HEADER", "s3cret")
    receiver = Receiver()
    server = Server(receiver)
    try:
        exported(kit.made(15), sink_of({"kind": "otlp", "url": server.url, "header": "X-Key"}))
    finally:
        server.close()
    told = [{one.key: one.value for one in log.attributes} for log in receiver.logs]
    assert [one["flujo.audit.number"].int_value for one in told] == list(range(16))
    assert told[1]["log.record.uid"].string_value == "e0" and receiver.logs[1].event_name == "step.started"
    assert json.loads(receiver.logs[1].body.string_value)["id"] == "e0" and receiver.logs[1].severity_number == 9
    assert server.posts[0].path == "/v1/logs" and server.posts[0].headers["X-Key"] == "s3cret"


def test_what_a_receiver_rejects_stops_the_export(kit: Any) -> None:
    server = Server(Receiver(rejected=1))
    try:
        with pytest.raises(SinkRefused, match="rejected 1 records"):
            exported(kit.made(3), sink_of({"kind": "otlp", "url": server.url}))
    finally:
        server.close()


def test_an_answer_that_is_none_is_no_yes(kit: Any) -> None:
    server = Server(lambda post: (200, b"<html>"))
    try:
        with pytest.raises(SinkFailed, match="an answer that is not its own"):
            exported(kit.made(3), sink_of({"kind": "otlp", "url": server.url}))
    finally:
        server.close()


# --------------------------------------------------------------------------------------------------------------- Kafka


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The mock cluster of librdkafka: three brokers in this process."""
    owner = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "mock", "log_level": 0})
    brokers = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in brokers)
    del owner


def consumed(cluster: str, topic: str, count: int) -> list[Any]:
    settings = {
        "bootstrap.servers": cluster,
        "group.id": f"g{free_port()}",
        "auto.offset.reset": "earliest",
        "log_level": 0,
    }
    consumer, found = Consumer(settings), []
    consumer.subscribe([topic])
    until = time.monotonic() + 30
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


@pytest.mark.parametrize("form", ["record", "ocsf"])
def test_a_topic_has_the_records_in_order_in_one_partition(kit: Any, cluster: str, form: str) -> None:
    topic = f"audit-{form}"
    exported(kit.made(25), sink_of({"kind": "kafka", "servers": cluster, "topic": topic, "format": form}))
    found = consumed(cluster, topic, 26)
    assert len({one.partition() for one in found}) == 1 and {one.key() for one in found} == {b"flujo.test/audit"}
    headers = [dict(one.headers()) for one in found]
    assert [int(one["number"]) for one in headers] == list(range(26)) and headers[1]["id"] == b"e0"
    value = json.loads(found[1].value())
    assert value["record"]["id"] == "e0" if form == "record" else value["metadata"]["uid"] == "e0"


def test_brokers_that_are_away_are_tried_again(kit: Any) -> None:
    told = {"kind": "kafka", "servers": f"127.0.0.1:{free_port()}", "topic": "t", "timeout": 1.5}
    with pytest.raises(SinkFailed, match="Kafka has acknowledged 0 of 4 messages"):
        exported(kit.made(3), sink_of(told))


def test_what_makes_kafka_lose_nothing_is_not_the_users_to_set() -> None:
    with pytest.raises(ConfigurationError, match="'acks' of the export to 'kafka' is set already"):
        sink_of({"kind": "kafka", "servers": "x", "topic": "t", "settings": {"acks": "1"}})
    with pytest.raises(ConfigurationError, match="'NOBODY_SET' has no password"):
        sink_of({"kind": "kafka", "servers": "x", "topic": "t", "password_variable": "NOBODY_SET"})


# ---------------------------------------------------------------------------------------------------------------- OCSF


@pytest.mark.parametrize("kind", sorted(KINDS | {"audit.gap", "payload.erased", "log.opened", "log.records_lost"}))
def test_every_kind_of_record_is_an_event_that_the_schema_of_ocsf_allows(kind: str) -> None:
    fields: dict[str, Any] = {"id": "e1", "kind": "x", "at": 1_800_000_000_000_000, "run": "r1", "tenant": "t1"}
    fields |= {"approver": "ops", "model": "m", "status": "failed", "address": "a"}
    for told in (fields, {"id": "e1", "kind": "x", "at": 1}):
        data = encode_record(told).replace(b'"kind":"x"', b'"kind":"%b"' % kind.encode())
        event = ocsf_event(Exported("example.com/audit", 7, data))
        name = "api_activity" if event["class_uid"] == 6003 else "application_lifecycle"
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0")).get_class_schema(class_name=name, profiles=[])
        Draft202012Validator(schema).validate(event)
        assert event["metadata"]["uid"] == "e1" and event["metadata"]["sequence"] == 7
        assert json.loads(event["raw_data"])["kind"] == kind


def test_the_schema_refuses_an_event_that_is_none() -> None:
    event = ocsf_event(Exported("o", 7, encode_record({"id": "e1", "kind": "step.started", "at": 1})))
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    checked = Draft202012Validator(schema.get_class_schema(class_name="application_lifecycle", profiles=[]))
    assert checked.is_valid(event) and not checked.is_valid(event | {"class_uid": 1})
    assert not checked.is_valid(event | {"colour": 1})


def test_lines_can_be_events_of_ocsf(kit: Any) -> None:
    out = kit.folder / "out.jsonl"
    exported(kit.made(3), sink_of({"kind": "jsonl", "path": str(out), "format": "ocsf"}))
    assert [json.loads(line)["metadata"]["sequence"] for line in out.read_bytes().splitlines()] == list(range(4))
