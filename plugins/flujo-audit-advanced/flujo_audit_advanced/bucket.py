"""Bucket: objects of S3 that nobody can change or delete for a time (Object Lock); a target of write-once copies."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from flujo_audit_advanced.errors import AuditError, Contradicted, NotAnchored
from flujo_core import ConfigurationError

LockMode: TypeAlias = Literal["COMPLIANCE", "GOVERNANCE"]
"""``COMPLIANCE``: nobody at all may delete an object before its time; ``GOVERNANCE``: nobody without a permission."""


class BucketFailed(AuditError):
    """The server did not do what it was asked to; the text says what it is called, without what was asked."""


class Unlocked(AuditError):
    """The bucket has no Object Lock."""


class LockedBucket:
    """A bucket with Object Lock. Who one is, boto3 finds out: environment, profile, role of the machine.

    Args:
        bucket: The bucket.
        days: For how long nobody may delete what was put.
        mode: Who is nobody.
        region: The region; None: as boto3 finds it.
        endpoint: The URL of another server than Amazon's, or None.
        timeout: Seconds in which the server has to answer.

    Raises:
        ConfigurationError: There is no such library, or objects would not be locked.
    """

    def __init__(
        self,
        bucket: str,
        *,
        days: int,
        mode: LockMode = "COMPLIANCE",
        region: str | None = None,
        endpoint: str | None = None,
        timeout: float = 20.0,
    ) -> None:
        if days < 1:
            raise ConfigurationError(f"'days' of the bucket '{bucket}' is at least 1: for how long nobody may delete")
        self.name, self._days, self._mode = bucket, days, mode
        self._client, self._checked = _client(region, endpoint, timeout), False

    def put_new(self, name: str, data: bytes, kind: str = "application/octet-stream") -> bool:
        """Puts an object; False if there is one of that name.

        Raises:
            Unlocked: The bucket has no Object Lock.
            BucketFailed: It was not put.
        """
        self._check_lock()
        try:
            self._client.put_object(
                Bucket=self.name,
                Key=name,
                Body=data,
                IfNoneMatch="*",
                ContentType=kind,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=b64encode(sha256(data).digest()).decode(),
                ObjectLockMode=self._mode,
                ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=self._days),
            )
        except _errors() as error:
            if _code(error) in ("PreconditionFailed", "412"):
                return False
            raise self._failed(error) from None
        return True

    def get(self, name: str) -> bytes | None:
        """An object's bytes; None if there is none.

        Raises:
            Unlocked: The bucket has no Object Lock.
            BucketFailed: It could not be read.
        """
        self._check_lock()
        try:
            data: bytes = self._client.get_object(Bucket=self.name, Key=name)["Body"].read()
        except _errors() as error:
            if _code(error) in ("404", "NoSuchKey"):
                return None
            raise self._failed(error) from None
        return data

    def last(self, prefix: str) -> str | None:
        """The highest name that begins so; None if there is none.

        Raises:
            BucketFailed: It could not be told.
        """
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            return max((one["Key"] for page in pages for one in page.get("Contents", ())), default=None)
        except _errors() as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()

    def _check_lock(self) -> None:
        """Objects that anybody can delete are no record."""
        if self._checked:
            return
        try:
            told = self._client.get_object_lock_configuration(Bucket=self.name)
        except _errors() as error:
            if _code(error) != "ObjectLockConfigurationNotFoundError":
                raise self._failed(error) from None
            told = {}
        if told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise Unlocked(f"the bucket '{self.name}' has no Object Lock; make one with it")
        self._checked = True

    def _failed(self, error: Exception) -> BucketFailed:
        return BucketFailed(f"the bucket '{self.name}' has not taken it ({_code(error)})")


class S3Target:
    """A bucket with Object Lock as the target of write-once copies: ``WriteOnceCopy(S3Target(bucket))``.

    Args:
        bucket: The bucket.
        prefix: How the names of objects begin.
    """

    def __init__(self, bucket: LockedBucket, *, prefix: str = "audit-copy/") -> None:
        self._bucket, self._prefix = bucket, prefix

    def put(self, name: str, data: bytes, /) -> None:
        """Puts a file there; does nothing if it is there with the same content."""
        try:
            if self._bucket.put_new(self._prefix + name, data) or self.get(name) == data:
                return
        except (BucketFailed, Unlocked) as error:
            raise NotAnchored(f"the write-once copy could not be written: {error}") from None
        raise Contradicted(
            f"the write-once copy has another '{name}' than the log: the log was rewritten; keep both, and look"
        )

    def get(self, name: str, /) -> bytes | None:
        """A file; None if it is not there."""
        try:
            return self._bucket.get(self._prefix + name)
        except (BucketFailed, Unlocked) as error:
            raise NotAnchored(f"the write-once copy cannot be read: {error}") from None

    def newest(self) -> str | None:
        """The highest name in ``checkpoints/``; None if there is none."""
        try:
            found = self._bucket.last(f"{self._prefix}checkpoints/")
        except BucketFailed as error:
            raise NotAnchored(f"the write-once copy cannot be read: {error}") from None
        return None if found is None else found.removeprefix(self._prefix)


def _client(region: str | None, endpoint: str | None, timeout: float) -> Any:
    try:
        import boto3  # noqa: PLC0415 - of the extra 's3'
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError("objects in S3 need boto3; install 'flujo-audit-advanced[s3]'") from None
    config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"max_attempts": 1})
    return boto3.client("s3", region_name=region, endpoint_url=endpoint, config=config)


def _errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    return BotoCoreError, ClientError


def _code(error: Any) -> str:
    """What a failure is called, without what was asked."""
    told = getattr(error, "response", {})
    return str(told.get("Error", {}).get("Code") or type(error).__name__)
