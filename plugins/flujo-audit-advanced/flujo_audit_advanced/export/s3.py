"""S3: records in objects that nobody can change or delete for a time (Object Lock)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from flujo_audit_advanced.export.format import Format, lines_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed, SinkRefused
from flujo_core import ConfigurationError


class S3Options(Options):
    """Options of the sink ``s3``. Who one is, boto3 finds out: environment, profile, role of the machine.

    Attributes:
        bucket: The bucket; it must have Object Lock.
        prefix: How the names of objects begin.
        days: For how long nobody may delete them.
        mode: ``COMPLIANCE``: nobody at all; ``GOVERNANCE``: nobody without a permission of its own.
        region: The region; None: as boto3 finds it.
        endpoint: The URL of another server than Amazon's, or None.
        format: What stands on each line of an object.
        timeout: Seconds in which the server has to answer.
    """

    kind: Literal["s3"] = "s3"
    bucket: str
    prefix: str = "audit/"
    days: int
    mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    region: str | None = None
    endpoint: str | None = None
    format: Format = "record"
    timeout: float = 20.0


class S3Sink:
    """Puts records into objects that are named by their first one: ``PREFIX/ORIGIN/FIRST.jsonl``; each record once.

    Args:
        options: Where.

    Raises:
        ConfigurationError: There is no such library, or objects would not be locked.
    """

    def __init__(self, options: S3Options) -> None:
        if options.days < 1:
            raise ConfigurationError("'days' of the export to 's3' is at least 1: for how long nobody may delete")
        self._options, self._client, self._checked = options, _client(options), False

    async def send(self, records: Sequence[Exported], /) -> None:
        """Puts records into an object."""
        await asyncio.to_thread(self._put, records)

    async def aclose(self) -> None:
        """Lets go of connections."""
        await asyncio.to_thread(self._client.close)

    def _put(self, records: Sequence[Exported]) -> None:
        try:
            self._check_lock()
            while records:
                records = self._put_rest(records)
        except _errors() as error:
            raise SinkFailed(f"the bucket '{self._options.bucket}' has not taken it ({_code(error)})") from None

    def _put_rest(self, records: Sequence[Exported]) -> Sequence[Exported]:
        """Puts records into the object of the first one; if that is there, gives those that are not in it.

        Raises:
            SinkRefused: It is there, and has others.
        """
        name = f"{self._options.prefix}{records[0].origin}/{records[0].number:020}.jsonl"
        found = self._get(name)
        if found is None:
            return () if self._put_new(name, lines_of(records, self._options.format)) else records
        count = found.count(b"\n")
        if not found.startswith(lines_of(records[:count], self._options.format)):
            raise SinkRefused(f"the bucket '{self._options.bucket}' has another object '{name}'; keep both, and look")
        return records[count:]

    def _put_new(self, name: str, data: bytes) -> bool:
        """Puts an object, unless somebody else has just put it."""
        told = self._options
        try:
            self._client.put_object(
                Bucket=told.bucket,
                Key=name,
                Body=data,
                IfNoneMatch="*",
                ContentType="application/x-ndjson",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
                ObjectLockMode=told.mode,
                ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=told.days),
            )
        except _errors() as error:
            if _code(error) in ("PreconditionFailed", "412"):
                return False
            raise
        return True

    def _get(self, name: str) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self._options.bucket, Key=name)
        except _errors() as error:
            if _code(error) in ("404", "NoSuchKey"):
                return None
            raise
        data: bytes = answer["Body"].read()
        return data

    def _check_lock(self) -> None:
        """Objects that anybody can delete are no record."""
        if self._checked:
            return
        try:
            told = self._client.get_object_lock_configuration(Bucket=self._options.bucket)
        except _errors() as error:
            if _code(error) != "ObjectLockConfigurationNotFoundError":
                raise
            told = {}
        if told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise SinkRefused(f"the bucket '{self._options.bucket}' has no Object Lock; make one with it")
        self._checked = True


def _client(options: S3Options) -> Any:
    try:
        import boto3  # noqa: PLC0415 - of the extra 's3'
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError("exports to S3 need boto3; install 'flujo-audit-advanced[s3]'") from None
    timeout = options.timeout
    config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"max_attempts": 1})
    return boto3.client("s3", region_name=options.region, endpoint_url=options.endpoint, config=config)


def _errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return BotoCoreError, ClientError


def _code(error: Any) -> str:
    """What a failure is called, without what was asked."""
    told = getattr(error, "response", {})
    return str(told.get("Error", {}).get("Code") or type(error).__name__)
