"""Syslog: RFC 5424 messages over TLS (RFC 5425) or TCP (RFC 6587, octet counting).

Syslog has no acknowledgements: what a connection has taken may be lost with the receiver. So each batch has a
connection of its own, which is closed for writing behind the last message, and counts when the receiver then closes it
in its turn: it has read everything up to the end. Anything else, a close before ours included, and the batch is sent
again; and the one before it, which a receiver that was about to end may have read and not kept.

Receivers are not agreed on closing TLS with a notice (rsyslog does with OpenSSL, and not with GnuTLS), so an end of TCP
counts: who can cut connections can keep records from the receiver, and the numbers in the messages show the hole.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fcntl import ioctl
from pathlib import Path
from select import select
from termios import TIOCOUTQ
from typing import Final, Literal

from flujo_audit_advanced.export.severity import severity
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed
from flujo_core import ConfigurationError

AUDIT: Final = 13
"""The facility ``log audit`` (RFC 5424, table 1)."""


class SyslogOptions(Options):
    """Options of the sink ``syslog``.

    Attributes:
        host: The receiver.
        port: Its port.
        tls: Whether the connection is TLS; else whoever can listen reads what is sent.
        ca: The file of the certificates that are trusted, in PEM; None: those of the system.
        certificate: The file of a client certificate with its key, in PEM.
        server_name: The name that the receiver's certificate has; None: ``host``.
        facility: The facility's number.
        app_name: APP-NAME.
        enterprise: The private enterprise number of the structured data; 32473 is the one of documentation (RFC 5612).
        timeout: Seconds in which the receiver has to do each thing.
    """

    kind: Literal["syslog"] = "syslog"
    host: str
    port: int = 6514
    tls: bool = True
    ca: Path | None = None
    certificate: Path | None = None
    server_name: str | None = None
    facility: int = AUDIT
    app_name: str = "flujo"
    enterprise: int = 32473
    timeout: float = 10.0


class SyslogSink:
    """Sends records to a receiver of syslog.

    Args:
        options: Where, and how.

    Raises:
        ConfigurationError: A certificate cannot be read.
    """

    def __init__(self, options: SyslogOptions) -> None:
        self._options = options
        self._tls = _context(options) if options.tls else None
        self._host = _header(socket.gethostname(), 255)
        self._before, self._has_failed = b"", False

    async def send(self, records: Sequence[Exported], /) -> None:
        """Sends records on a connection of their own, and waits until the receiver has read to its end."""
        data = b"".join(self._framed(one) for one in records)
        again = self._before if self._has_failed else b""
        self._has_failed = True
        await asyncio.to_thread(self._deliver, again + data)
        self._before, self._has_failed = data, False

    async def aclose(self) -> None:
        """No connection is open between two batches."""

    def message(self, one: Exported) -> bytes:
        """A record as a message of RFC 5424."""
        fields, told = one.fields, self._options
        at = datetime.fromtimestamp(fields["at"] / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        element = f"flujo@{told.enterprise}"
        data = " ".join(f'{name}="{_escaped(value)}"' for name, value in (
            ("origin", one.origin), ("number", str(one.number)), ("id", fields["id"])
        ))  # fmt: skip
        head = (
            f"<{told.facility * 8 + severity(fields)}>1 {at} {self._host} {_header(told.app_name, 48)} {os.getpid()} "
            f"{_header(fields['kind'], 32)} [{element} {data}] "
        )
        return head.encode() + b"\xef\xbb\xbf" + one.data

    def _framed(self, one: Exported) -> bytes:
        message = self.message(one)
        return b"%d %b" % (len(message), message)

    def _deliver(self, data: bytes) -> None:
        told = self._options
        where = f"the receiver of syslog at '{told.host}:{told.port}'"
        try:
            with socket.create_connection((told.host, told.port), told.timeout) as plain:
                if self._tls is None:
                    _send_plain(plain, data)
                else:
                    name = told.server_name or told.host
                    with self._tls.wrap_socket(plain, server_hostname=name) as secured:
                        _send_secured(secured, data)
        except ssl.SSLCertVerificationError as error:
            raise SinkFailed(f"{where} is not who it should be: {error.verify_message}") from None
        except OSError as error:
            raise SinkFailed(f"{where} has not taken a batch to its end ({type(error).__name__})") from None


def _send_plain(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    _arrived(connection)
    if select([connection], [], [], 0)[0] and not connection.recv(1, socket.MSG_PEEK):
        raise ConnectionAbortedError
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass


def _send_secured(connection: ssl.SSLSocket, data: bytes) -> None:
    connection.sendall(data)
    _arrived(connection)
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        if not connection.recv(1):
            raise ConnectionAbortedError
    except ssl.SSLWantReadError:
        connection.settimeout(timeout)
    with suppress(ssl.SSLEOFError):
        connection.unwrap()


def _arrived(connection: socket.socket) -> None:
    """Waits until the receiver's machine has all bytes: if it closes without reading them, the connection is reset.

    Raises:
        TimeoutError: It has not, in time.
    """
    until = time.monotonic() + (connection.gettimeout() or 0)
    while int.from_bytes(ioctl(connection, TIOCOUTQ, bytes(4)), sys.byteorder):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.001)


def _context(options: SyslogOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if options.certificate is not None:
            context.load_cert_chain(options.certificate)
    except OSError as error:
        raise ConfigurationError(f"a certificate for syslog cannot be read: {error.strerror}") from None
    return context


def _header(text: str, most: int) -> str:
    """A field of the header: printable ASCII without spaces; ``-`` if there is none."""
    return "".join(one for one in text if "!" <= one <= "~")[:most] or "-"


def _escaped(text: str) -> str:
    """A value of structured data (RFC 5424, 6.3.3)."""
    return "".join(f"\\{one}" if one in '"\\]' else one for one in text)
