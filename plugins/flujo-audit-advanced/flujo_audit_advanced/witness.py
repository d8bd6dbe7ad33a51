"""Witnesses: servers that cosign a checkpoint when it extends the last one that they saw (C2SP tlog-witness v0).

A witness asks for a consistency proof from the size that it knows; so a log that was rewritten or forked gets no
cosignature, whoever has its key.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from flujo_audit_advanced.anchor import Evidence, Sealed
from flujo_audit_advanced.errors import Contradicted, NotAnchored, NotSigned
from flujo_audit_advanced.note import COSIGNATURE, Signature, VerifierKey, signature_lines
from flujo_audit_advanced.web import Answer, Unreachable, ask, checked_url
from flujo_core import ConfigurationError


class Witness:
    """One witness.

    Args:
        url: Its submission prefix: ``https://witness.example/w1``.
        key: Its verifier key, of type 4: ``witness.example/w1+...``.
        timeout: Seconds in which it has to answer.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 10.0) -> None:
        self.key = VerifierKey.parse(key)
        if self.key.kind != COSIGNATURE:
            raise ConfigurationError(f"the key of the witness '{self.key.name}' is not one of a cosigner (type 4)")
        self._url, self._timeout = checked_url(url, f"the witness '{self.key.name}'"), timeout
        self._known = 0

    def cosignature(self, sealed: Sealed) -> Signature:
        """Asks for a cosignature.

        Raises:
            NotAnchored: It gave none.
            Contradicted: It has seen another log of this name, or a later state of this one.
        """
        answer = self._submit(sealed)
        if answer.status == 409:
            self._known = self._said_size(answer)
            answer = self._submit(sealed)
        if answer.status != 200:
            raise self._refusal(answer)
        found = self._checked(sealed, answer)
        self._known = sealed.checkpoint.size
        return found

    def _submit(self, sealed: Sealed) -> Answer:
        if self._known > sealed.checkpoint.size:
            raise Contradicted(
                f"the witness '{self.key.name}' has seen {self._known} records of the log and it has "
                f"{sealed.checkpoint.size} now: it was cut off or begun again; keep its files, and look"
            )
        proof = sealed.proof(self._known)
        lines = [f"old {self._known}", *(b64encode(one).decode() for one in proof), "", ""]
        body = "\n".join(lines).encode() + bytes(sealed.note)
        try:
            return ask(f"{self._url}/add-checkpoint", body, {"Content-Type": "text/plain"}, self._timeout)
        except Unreachable as error:
            raise NotAnchored(f"the witness '{self.key.name}' did not answer ({error})") from None

    def _said_size(self, answer: Answer) -> int:
        text = answer.body.decode("ascii", "replace").strip()
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise NotAnchored(f"the witness '{self.key.name}' answered 409 without the size that it knows")
        return int(text)

    def _refusal(self, answer: Answer) -> NotAnchored:
        if answer.status in (409, 422):
            return Contradicted(
                f"the witness '{self.key.name}' has seen another log of this name up to record {self._known} "
                f"(HTTP {answer.status}): one of the two is a fork or was rewritten; keep its files, and look"
            )
        known = {403: "it does not know the log's key", 404: "it does not know the log"}
        why = known.get(answer.status, "see its own log")
        return NotAnchored(f"the witness '{self.key.name}' refused the checkpoint (HTTP {answer.status}): {why}")

    def _checked(self, sealed: Sealed, answer: Answer) -> Signature:
        try:
            lines = signature_lines(answer.body.decode())
            mine = [one for one in lines if (one.name, one.id) == (self.key.name, self.key.id)]
            self.key.check(sealed.note.text, mine[-1].data)
        except (NotSigned, UnicodeDecodeError, IndexError):
            raise NotAnchored(f"the witness '{self.key.name}' answered without its cosignature") from None
        return mine[-1]


class Witnesses:
    """Witnesses of whom a number have to cosign; an anchor of a log.

    Args:
        witnesses: The witnesses.
        quorum: How many of them have to cosign.
        every: Seconds between two checkpoints that they are given.
        name: How they are called in messages.
    """

    def __init__(
        self, witnesses: Sequence[Witness], *, quorum: int, every: float = 60.0, name: str = "witnesses"
    ) -> None:
        if not 1 <= quorum <= len({one.key for one in witnesses}):
            raise ConfigurationError(f"a quorum of {quorum} of {len(witnesses)} different witnesses cannot be had")
        self.name, self.every = name, every
        self._witnesses, self._quorum = tuple(witnesses), quorum

    def anchor(self, sealed: Sealed, /) -> Evidence:
        """Asks all of them at once."""
        with ThreadPoolExecutor(len(self._witnesses)) as pool:
            found = list(pool.map(lambda one: _attempt(one, sealed), self._witnesses))
        refusals = [one for one in found if isinstance(one, NotAnchored)]
        for one in refusals:
            if isinstance(one, Contradicted):
                raise one
        signatures = tuple(one for one in found if isinstance(one, Signature))
        if len(signatures) < self._quorum:
            raise NotAnchored(
                f"{len(signatures)} of the {self._quorum} witnesses that have to have cosigned: "
                + "; ".join(map(str, refusals))
            )
        return Evidence(signatures)


def _attempt(witness: Witness, sealed: Sealed) -> Signature | NotAnchored:
    try:
        return witness.cosignature(sealed)
    except NotAnchored as error:
        return error
