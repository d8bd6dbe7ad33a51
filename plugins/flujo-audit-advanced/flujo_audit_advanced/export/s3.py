"""S3: records in objects that nobody can change or delete for a time (Object Lock)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from flujo_audit_advanced.bucket import BucketFailed, LockedBucket, LockMode, Unlocked
from flujo_audit_advanced.export.format import Format, lines_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed, SinkRefused


class S3Options(Options):
    """Options of the sink ``s3``; see ``LockedBucket``.

    Attributes:
        bucket: The bucket; it must have Object Lock.
        prefix: How the names of objects begin.
        days: For how long nobody may delete them.
        mode: Who is nobody.
        region: The region; None: as boto3 finds it.
        endpoint: The URL of another server than Amazon's, or None.
        format: What stands on each line of an object.
        timeout: Seconds in which the server has to answer.
    """

    kind: Literal["s3"] = "s3"
    bucket: str
    prefix: str = "audit/"
    days: int
    mode: LockMode = "COMPLIANCE"
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
        self._prefix = options.prefix
        self._format: Format = options.format
        self._bucket = LockedBucket(
            options.bucket,
            days=options.days,
            mode=options.mode,
            region=options.region,
            endpoint=options.endpoint,
            timeout=options.timeout,
        )

    async def send(self, records: Sequence[Exported], /) -> None:
        """Puts records into an object."""
        await asyncio.to_thread(self._put, records)

    async def aclose(self) -> None:
        """Lets go of connections."""
        await asyncio.to_thread(self._bucket.close)

    def _put(self, records: Sequence[Exported]) -> None:
        try:
            while records:
                records = self._put_rest(records)
        except BucketFailed as error:
            raise SinkFailed(str(error)) from None
        except Unlocked as error:
            raise SinkRefused(str(error)) from None

    def _put_rest(self, records: Sequence[Exported]) -> Sequence[Exported]:
        """Puts records into the object of the first one; if that is there, gives those that are not in it.

        Raises:
            SinkRefused: It is there, and has others.
        """
        name = f"{self._prefix}{records[0].origin}/{records[0].number:020}.jsonl"
        found = self._bucket.get(name)
        if found is None:
            data = lines_of(records, self._format)
            return () if self._bucket.put_new(name, data, "application/x-ndjson") else records
        count = found.count(b"\n")
        if not found.startswith(lines_of(records[:count], self._format)):
            raise SinkRefused(f"the bucket '{self._bucket.name}' has another object '{name}'; keep both, and look")
        return records[count:]
