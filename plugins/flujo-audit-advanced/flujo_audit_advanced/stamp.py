"""Timestamps of RFC 3161: an authority signs that a checkpoint was there at a time. Needs the extra ``stamps``."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from types import ModuleType

from cryptography.x509 import Certificate, load_pem_x509_certificates

from flujo_audit_advanced.anchor import Evidence, Sealed
from flujo_audit_advanced.errors import NotAnchored, NotSigned
from flujo_audit_advanced.note import proper_name
from flujo_audit_advanced.web import Unreachable, ask, checked_url
from flujo_core import ConfigurationError


class StampAuthority:
    """An authority for timestamps; an anchor of a log. What is stamped is the text of the checkpoint.

    Args:
        url: Where it takes requests.
        roots: The root certificates that its own descends from, as PEM.
        every: Seconds between two stamps.
        timeout: Seconds in which it has to answer.
        name: How it is called in messages and files.
    """

    def __init__(
        self, url: str, roots: bytes, *, every: float = 3600.0, timeout: float = 10.0, name: str = "authority"
    ) -> None:
        if not proper_name(name) or "/" in name:
            raise ConfigurationError("the name of an authority for timestamps is not one that a file can have")
        self.name, self.every = name, every
        self._url, self._timeout = checked_url(url, f"the authority '{name}'"), timeout
        self._roots = certificates(roots)
        _library()

    def anchor(self, sealed: Sealed, /) -> Evidence:
        """Asks for a stamp."""
        library = _library()
        text = sealed.note.text.encode()
        request = (
            library.TimestampRequestBuilder().data(text).hash_algorithm(library.HashAlgorithm.SHA256).nonce(nonce=True)
        ).build()
        headers = {"Content-Type": "application/timestamp-query"}
        try:
            answer = ask(self._url, request.as_bytes(), headers, self._timeout)
        except Unreachable as error:
            raise NotAnchored(f"the authority '{self.name}' did not answer ({error})") from None
        if answer.status != 200:
            raise NotAnchored(f"the authority '{self.name}' refused the checkpoint (HTTP {answer.status})")
        try:
            stamped_at(answer.body, sealed.note.text, self._roots, nonce=request.nonce)
        except NotSigned as error:
            raise NotAnchored(f"the authority '{self.name}' gave no stamp that can be used: {error}") from None
        return Evidence(files={f"stamp-{self.name}.tsr": answer.body})


def certificates(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM file.

    Raises:
        ConfigurationError: There are none.
    """
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigurationError("the root certificates of an authority are not PEM certificates") from None


def stamped_at(stamp: bytes, text: str, roots: Sequence[Certificate], *, nonce: int | None = None) -> int:
    """When an authority saw a text, in seconds since 1970.

    Raises:
        NotSigned: The stamp is not one of that text by an authority that descends from one of the roots.
    """
    library = _library()
    try:
        response = library.decode_timestamp_response(stamp)
        builder = library.VerifierBuilder()
        for one in roots:
            builder = builder.add_root_certificate(one)
        if nonce is not None:
            builder = builder.nonce(nonce)
        builder.build().verify(response, sha256(text.encode()).digest())
    except (library.VerificationError, ValueError) as error:
        raise NotSigned(f"the stamp is not right ({type(error).__name__})") from None
    return int(response.tst_info.gen_time.timestamp())


def _library() -> ModuleType:
    try:
        import rfc3161_client  # noqa: PLC0415 - an extra, imported on first use
    except ImportError:
        raise ConfigurationError(
            "timestamps need the package 'rfc3161-client'; pip install 'flujo-audit-advanced[stamps]'"
        ) from None
    return rfc3161_client
