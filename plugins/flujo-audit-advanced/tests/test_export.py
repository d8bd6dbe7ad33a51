"""Exports lose nothing, keep the order, and send again with the same ids what may not have arrived."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage
from export_kit import Posted, Rsyslog, Server, Taking, certificate, free_port
from flujo_audit_advanced import AuditError, LogDamaged, encode_record
from flujo_audit_advanced.export.cursor import Cursor, Position
from flujo_audit_advanced.export.exporter import Exporter, Pace
from flujo_audit_advanced.export.kinds import sink_of
from flujo_audit_advanced.export.running import Export, exports_of
from flujo_audit_advanced.export.sink import Exported, SinkFailed, SinkRefused
from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_core import ConfigurationError

QUICK = Pace(records=7, timeout=0.3, poll=0.01, first_wait=0.001, longest_wait=0.01, patience=0.05)


def exporter(log: Path, sink: Any, pace: Pace = QUICK) -> Exporter:
    return Exporter(log, sink, Cursor(log.parent / "cursor"), name="it", pace=pace)


def exported(log: Path, sink: Any, pace: Pace = QUICK) -> int:
    return asyncio.run(exporter(log, sink, pace).run(follow=False))


def without_repeats(numbers: list[int]) -> list[int]:
    """Numbers, where what is a repeat of earlier ones is taken out; what is left must be in order."""
    return list(dict.fromkeys(numbers))


# -------------------------------------------------------------------------------------------------------- the exporter


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["ok", "away", "lost"]), max_size=12))
def test_whatever_a_sink_does_nothing_is_lost_or_reordered_and_repeats_have_the_same_id(how: list[str]) -> None:
    import tempfile  # noqa: PLC0415

    from conftest import Kit  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        kit = Kit(Path(folder))
        log, sink = kit.made(40), Taking(*how)
        assert exported(log, sink, QUICK._replace(patience=60)) == 41 and sink.closed
        assert without_repeats(sink.numbers) == list(range(41))
        ids = {(one.number, one.fields["id"]) for one in sink.taken}
        assert len(ids) == 41


def test_an_export_goes_on_where_it_was(kit: Any) -> None:
    log, first, second = kit.made(20), Taking(), Taking()
    assert exported(log, first) == 21
    assert exported(log, second) == 21 and second.numbers == []
    kit.made(5)
    assert exported(log, second) == 27 and second.numbers == list(range(21, 27))


def test_a_sink_that_hangs_is_given_up_and_asked_again(kit: Any) -> None:
    sink = Taking("hangs", "hangs")
    exported(kit.made(5), sink, QUICK._replace(patience=60))
    assert sink.numbers == list(range(6))


def test_a_record_that_is_refused_stops_the_export_before_it_and_says_which(kit: Any) -> None:
    sink = Taking(refused=[17])
    with pytest.raises(SinkRefused, match="the export 'it' stops before record 17: it is not right"):
        exported(kit.made(30), sink)
    assert without_repeats(sink.numbers) == list(range(17))


def test_a_sink_that_stays_away_fails_an_export_that_does_not_follow(kit: Any) -> None:
    with pytest.raises(SinkFailed, match="it is away"):
        exported(kit.made(5), Taking(*["away"] * 100))


def test_only_what_is_sealed_is_exported(kit: Any) -> None:
    async def main() -> None:
        async with await kit.open(checkpoint_every=600) as log:
            for number in range(5):
                await log.append(kit.event(number))
            sink = Taking()
            await exporter(log.path, sink).run(follow=False)
            assert sink.numbers == [0]
            await log.checkpoint()
            await exporter(log.path, sink).run(follow=False)
            assert sink.numbers == list(range(6))

    asyncio.run(main())


@pytest.mark.parametrize("what", ["cut", "rewritten", "another"])
def test_a_log_that_is_not_the_one_that_was_exported_stops_the_export(kit: Any, what: str) -> None:
    log = kit.made(20)
    exported(log, Taking())
    records = kit.records(log)
    if what == "cut":
        kit.rewrite(log, records[:10], kit.signer)
    elif what == "rewritten":
        kit.rewrite(log, [*records[:-1], kit.event(999), kit.event(1000)], kit.signer)
    else:
        log = kit.made(20, "other", origin="example.com/other")
    with pytest.raises(LogDamaged, match=r"cut off|rewritten|what was exported is of"):
        exported(log, Taking())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"origin":"a"}', b'{"origin":"a","next":"x","leaf":""}', b"\xff"])
def test_a_cursor_that_is_none_is_refused_and_nothing_is_skipped(kit: Any, data: bytes) -> None:
    log = kit.made(5)
    (log.parent / "cursor").write_bytes(data)
    with pytest.raises(AuditError, match="is no cursor of an export; remove it"):
        exported(log, Taking())


def test_a_cursor_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "a" / "cursor")
    assert cursor.read() is None
    for number in range(3):
        cursor.write(Position("o", number, "00"))
        assert cursor.read() == ("o", number, "00") and [one.name for one in (tmp_path / "a").iterdir()] == ["cursor"]


def test_an_exporter_that_is_killed_anywhere_loses_nothing(kit: Any) -> None:
    log, out = kit.made(3000), kit.folder / "out.jsonl"
    code = """
import asyncio, sys
from pathlib import Path
from flujo_audit_advanced.export.exporter import Pace
from flujo_audit_advanced.export.running import Export
export = Export("it", {"kind": "jsonl", "path": sys.argv[2]})
asyncio.run(export.exporter(Path(sys.argv[1]), pace=Pace(records=2)).run(follow=False))
"""
    killed = 0
    for _ in range(40):
        process = subprocess.Popen([sys.executable, "-c", code, str(log), str(out)])
        try:
            process.wait(random.uniform(0.3, 0.6))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    else:
        subprocess.run([sys.executable, "-c", code, str(log), str(out)], check=True)
    lines = [line for line in out.read_bytes().splitlines() if line]
    numbers = []
    for line in lines:
        try:
            numbers.append(json.loads(line)["number"])
        except ValueError:  # cut off when it was killed; it was sent again
            continue
    assert killed and without_repeats(numbers) == list(range(3001))


# ---------------------------------------------------------------------------------------------------------- JSON lines


def test_lines_have_the_records_and_a_large_file_is_put_aside(kit: Any) -> None:
    log, out = kit.made(50), kit.folder / "out.jsonl"
    sink = sink_of({"kind": "jsonl", "path": str(out), "most_bytes": 2000})
    exported(log, sink)
    files = sorted(kit.folder.glob("out.jsonl*"))
    assert len(files) > 2
    lines = [
        json.loads(line)
        for path in sorted(files, key=lambda one: one.name if "." in one.name else "~")
        for line in path.read_bytes().splitlines()
    ]
    lines.sort(key=lambda one: one["number"])
    assert [one["number"] for one in lines] == list(range(51)) and lines[1]["record"]["id"] == "e0"
    assert all(one["origin"] == "flujo.test/audit" for one in lines)


def test_a_file_that_cannot_be_written_is_tried_again(kit: Any) -> None:
    out = kit.folder / "dir"
    out.mkdir()
    with pytest.raises(SinkFailed, match="cannot be written"):
        exported(kit.made(3), sink_of({"kind": "jsonl", "path": str(out)}))


# -------------------------------------------------------------------------------------------------------------- syslog


@pytest.fixture(params=["gtls", "ossl", "ptcp"])
def rsyslog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rsyslog]:
    """A real rsyslog, with each of its ways to listen."""
    made = Rsyslog(tmp_path, request.param)
    made.driver = request.param  # type: ignore[attr-defined]
    made.start()
    yield made
    made.stop()


def table(rsyslog: Any) -> dict[str, Any]:
    if rsyslog.driver == "ptcp":
        return {"kind": "syslog", "host": "127.0.0.1", "port": rsyslog.port, "tls": False}
    return {"kind": "syslog", "host": "localhost", "port": rsyslog.port, "ca": str(rsyslog.ca)}


def arrived(rsyslog: Rsyslog, count: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and len(set(rsyslog.numbers())) < count:
        time.sleep(0.1)


def test_rsyslog_gets_messages_of_rfc_5424(kit: Any, rsyslog: Rsyslog) -> None:
    exported(kit.made(20), sink_of(table(rsyslog)), Pace())
    arrived(rsyslog, 21)
    assert rsyslog.numbers() == list(range(21))
    data, kind, severity, text = rsyslog.lines()[3].split("|", 3)
    assert data == '[flujo@32473 origin="flujo.test/audit" number="3" id="e2"]'
    assert (kind, severity) == ("step.started", "6") and json.loads(text.removeprefix("\ufeff"))["id"] == "e2"


def test_large_and_strange_records_arrive_whole(kit: Any, rsyslog: Rsyslog) -> None:
    log = kit.folder / "log"

    async def main() -> None:
        async with await kit.open() as opened:
            for number in range(3):
                await opened.append(kit.event(number, text='"]\\ é \u2028 ' * 5000))
            await opened.append(encode_record({"id": 'a"]\\b', "kind": "x" * 60 + " é", "at": 1}))

    asyncio.run(main())
    exported(log, sink_of(table(rsyslog)), Pace())
    arrived(rsyslog, 5)
    assert rsyslog.numbers() == list(range(5))
    assert len(json.loads(rsyslog.lines()[2].split("|", 3)[3].removeprefix("\ufeff"))["text"]) == 40_000


def test_nothing_is_lost_or_reordered_while_rsyslog_is_stopped_for_10_seconds_under_load(
    kit: Any, rsyslog: Rsyslog
) -> None:
    async def main() -> int:
        written = 0
        async with await kit.open(checkpoint_every=0.1) as log:
            exporting = asyncio.create_task(
                Exporter(
                    log.path, sink_of(table(rsyslog)), Cursor(kit.folder / "cursor"), name="siem", pace=Pace(records=50)
                ).run(follow=True)
            )
            began, stopped, started = time.monotonic(), False, False
            while time.monotonic() - began < 16:
                for _ in range(10):
                    log.post(kit.event(written))
                    written += 1
                await asyncio.sleep(0.005)
                if not stopped and time.monotonic() - began > 3:
                    await asyncio.to_thread(rsyslog.stop)
                    stopped = True
                if not started and time.monotonic() - began > 13:
                    await asyncio.to_thread(rsyslog.start)
                    started = True
            await log.checkpoint()
            size = log.size
            for _ in range(600):
                position = Cursor(kit.folder / "cursor").read()
                if position is not None and position.next >= size:
                    break
                await asyncio.sleep(0.1)
            exporting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await exporting
            return size

    size = asyncio.run(main())
    arrived(rsyslog, size)
    assert size > 5000 and without_repeats(rsyslog.numbers()) == list(range(size))
    assert all(len(ids) == 1 for ids in rsyslog.ids().values())


def test_a_receiver_that_is_somebody_else_gets_nothing(kit: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    received = Rsyslog(tmp_path, "ossl")
    received.start()
    try:
        ca, _ = certificate(other)
        told = {"kind": "syslog", "host": "localhost", "port": received.port, "ca": str(ca)}
        with pytest.raises(SinkFailed, match="is not who it should be"):
            exported(kit.made(3), sink_of(told))
        wrong_name = told | {"ca": str(received.ca), "server_name": "siem.example"}
        with pytest.raises(SinkFailed, match="is not who it should be"):
            exported(kit.made(3, "more"), sink_of(wrong_name))
    finally:
        received.stop()
    assert received.lines() == []


@pytest.mark.parametrize("how", ["half-closes", "closes", "reads a part"])
def test_a_receiver_that_closes_before_it_has_read_everything_has_not_taken_the_batch(kit: Any, how: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        kept = []  # what is not closed stays open
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                kept.append(connection)
                if how == "half-closes":
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if how == "reads a part":
                    connection.recv(100)
                time.sleep(0.05)
                connection.close()

    Thread(target=serve, daemon=True).start()
    told = {"kind": "syslog", "host": "127.0.0.1", "port": listening.getsockname()[1], "tls": False, "timeout": 2}
    try:
        with pytest.raises(SinkFailed, match="has not taken a batch"):
            exported(kit.made(300), sink_of(told), QUICK._replace(timeout=5, records=400))
    finally:
        listening.close()


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_a_receiver_that_does_not_permit_the_client_has_not_taken_the_batch(
    kit: Any, tmp_path: Path, driver: str
) -> None:
    received = Rsyslog(tmp_path, driver, permitted="nobody.example")
    received.start()
    try:
        told = {"kind": "syslog", "host": "localhost", "port": received.port, "ca": str(received.ca), "timeout": 1}
        with pytest.raises(SinkFailed, match=r"has not taken a batch|took longer"):
            exported(kit.made(3), sink_of(told), QUICK._replace(timeout=1))
        other = tmp_path / "other"
        other.mkdir()
        made, key = certificate(other)
        made.write_bytes(made.read_bytes() + key.read_bytes())
        with pytest.raises(SinkFailed, match=r"has not taken a batch|took longer"):
            exported(kit.made(3, "more"), sink_of(told | {"certificate": str(made)}), QUICK._replace(timeout=1))
    finally:
        received.stop()
    assert received.lines() == []


def test_a_receiver_that_is_not_there_is_named(kit: Any) -> None:
    port = free_port()
    with pytest.raises(SinkFailed, match=f"at '127.0.0.1:{port}' has not taken a batch"):
        exported(kit.made(3), sink_of({"kind": "syslog", "host": "127.0.0.1", "port": port, "tls": False}))


# ---------------------------------------------------------------------------------------------------------------- HTTP


def test_events_are_those_of_cloudevents(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudevents.core.bindings.http import from_http  # noqa: PLC0415
    from cloudevents.core.formats.json import JSONFormat  # noqa: PLC0415
    from cloudevents.core.v1.event import CloudEvent  # noqa: PLC0415

    monkeypatch.setenv("EVENTS_TOKEN", "s3cret")
    server = Server(lambda post: (202, b""))
    try:
        told = {"kind": "cloudevents", "url": f"{server.url}/in", "token_variable": "EVENTS_TOKEN"}
        exported(kit.made(10), sink_of(told))
    finally:
        server.close()
    assert server.posts[0].headers["Authorization"] == "Bearer s3cret"
    assert server.posts[0].headers["Content-Type"].startswith("application/cloudevents-batch+json")
    events = [one for post in server.posts for one in json.loads(post.body)]
    for number, one in enumerate(events):
        headers = {"content-type": "application/cloudevents+json"}
        event = from_http(HTTPMessage(headers, json.dumps(one).encode()), JSONFormat(), CloudEvent)
        assert event.get_specversion() == "1.0" and event.get_source() == "//flujo.test/audit"
        assert event.get_extension("sequence") == f"{number:020}"
    assert [one["id"] for one in events[1:]] == [f"e{n}" for n in range(10)]


class Collector:
    """What Splunk's event collector does, as its documentation says; simulated."""

    def __init__(self, delay: int) -> None:
        self.batches: list[list[Any]] = []
        self._delay, self._asked = delay, 0

    def __call__(self, post: Posted) -> tuple[int, bytes]:
        if post.headers.get("Authorization") != "Splunk s3cret":
            return 403, b'{"text":"Invalid token","code":4}'
        if post.path.startswith("/services/collector/ack"):
            self._asked += 1
            acks = json.loads(post.body)["acks"]
            return 200, json.dumps({"acks": {str(one): self._asked > self._delay for one in acks}}).encode()
        decoder, text, place, found = json.JSONDecoder(), post.body.decode(), 0, []
        while place < len(text):
            one, place = decoder.raw_decode(text, place)
            found.append(one)
            while place < len(text) and text[place].isspace():
                place += 1
        self.batches.append(found)
        if "X-Splunk-Request-Channel" not in post.headers:
            return 200, b'{"text":"Success","code":0}'
        return 200, json.dumps({"text": "Success", "code": 0, "ackId": len(self.batches) - 1}).encode()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_the_event_collector_gets_events_and_a_batch_counts_when_it_is_acknowledged(
    kit: Any, monkeypatch: pytest.MonkeyPatch, acknowledged: bool
) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_SPLUNK_TOKEN", "s3cret")
    collector = Collector(1)
    server = Server(collector)
    try:
        told = {"kind": "splunk", "url": server.url, "index": "audit", "acknowledged": acknowledged}
        exported(kit.made(10), sink_of(told), Pace(records=100))
    finally:
        server.close()
    (events,) = collector.batches
    assert [one["fields"]["number"] for one in events] == list(range(11)) and events[1]["event"]["id"] == "e0"
    assert events[0]["index"] == "audit" and events[0]["sourcetype"] == "flujo:audit"


def test_a_batch_that_is_never_acknowledged_is_sent_again(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUJO_AUDIT_SPLUNK_TOKEN", "s3cret")
    collector = Collector(10**9)
    server = Server(collector)
    try:
        told = {"kind": "splunk", "url": server.url, "acknowledged": True, "timeout": 0.1}
        with pytest.raises(SinkFailed, match=r"has not acknowledged a batch in 0\.1 s"):
            exported(kit.made(3), sink_of(told))
    finally:
        server.close()
    assert len(collector.batches) > 1


@pytest.mark.parametrize(
    ("status", "error"), [(500, SinkFailed), (403, SinkFailed), (302, SinkFailed), (422, SinkRefused)]
)
def test_what_a_server_answers_is_told_without_the_token(
    kit: Any, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    monkeypatch.setenv("EVENTS_TOKEN", "s3cret")
    server = Server(lambda post: (status, b"e2 is bad"))
    try:
        sink = sink_of({"kind": "cloudevents", "url": server.url, "token_variable": "EVENTS_TOKEN"})
        with pytest.raises(error, match=f"HTTP {status}") as failed:
            exported(kit.made(3), sink)
    finally:
        server.close()
    assert "s3cret" not in str(failed.value) + repr(sink) and "e2 is bad" not in str(failed.value)


# ------------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "no 'kind' that there is"),
        ({"kind": "carrier-pigeon"}, "no 'kind' that there is"),
        ({"kind": "jsonl"}, "'path' of the export to 'jsonl' is not right"),
        ({"kind": "jsonl", "path": "x", "colour": 1}, "'colour' of the export to 'jsonl'"),
        ({"kind": "syslog", "host": "h", "port": "x"}, "'port' of the export to 'syslog'"),
        ({"kind": "syslog", "host": "h", "ca": "/nowhere"}, "a certificate for syslog cannot be read"),
        ({"kind": "cloudevents", "url": "ftp://x"}, "begins with neither"),
        ({"kind": "cloudevents", "url": "http://x", "token_variable": "NOBODY_SET"}, "'NOBODY_SET' has no token"),
        ({"kind": "splunk", "url": "http://x", "token_variable": "NOBODY_SET"}, "'NOBODY_SET' has no token"),
    ],
)
def test_a_sink_that_cannot_be_is_refused(told: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        sink_of(told)


def test_exports_have_names_of_their_own(tmp_path: Path) -> None:
    one = {"kind": "jsonl", "path": str(tmp_path / "x")}
    assert exports_of([one, one | {"name": "b"}]) == [Export("jsonl", one), Export("b", one)]
    with pytest.raises(ConfigurationError, match="two exports of the audit are called 'jsonl'"):
        exports_of([one, one])
    with pytest.raises(ConfigurationError, match="has no 'name' of letters"):
        exports_of([one | {"name": "../x"}])


def test_an_exported_record_is_a_line() -> None:
    one = Exported("o", 3, encode_record({"id": "a", "kind": "b", "at": 1}))
    assert json.loads(one.line) == {"origin": "o", "number": 3, "record": {"id": "a", "kind": "b", "at": 1}}
