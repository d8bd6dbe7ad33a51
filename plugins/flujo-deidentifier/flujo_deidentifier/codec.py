"""Codec: what a store keeps of a run has tokens in the places of what identifies somebody."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from flujo_core import CodecError, FlujoError, KeyLost, ValueAbout
from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.token import tokens_in
from flujo_deidentifier.vault import Scope, scope_of


class DeidentifyingCodec:
    """A value codec: inputs, outputs, contexts, questions and errors are kept with tokens, and read with values.

    All that the profile does not keep becomes a token here, so that what is read is what was written. The vault must
    outlive the process: without it what was kept has its tokens only.

    Args:
        deidentifier: Finds, and has the vault.
    """

    name = "deidentifier"

    def __init__(self, deidentifier: Deidentifier) -> None:
        self._deidentifier = deidentifier

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        """The value with tokens; labelled places become tokens whatever the detectors say.

        Raises:
            CodecError: It was not de-identified; nothing is written then.
        """
        scope = _scope(about)

        def encoded() -> Any:
            return self._deidentifier.deidentify_value(
                value, scope, lambda path, is_key: sorted(about.labels_at(path, key=is_key)), only_tokens=True
            )

        return await _done(encoded)

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        """The value that was given.

        Raises:
            CodecError: It cannot be had.
        """
        return await _done(lambda: self._restored(value, _scope(about)))

    def _restored(self, value: Any, scope: Scope) -> Any:
        """Every token in what was kept is one that was made for it: those of the value have got tokens of their own."""
        tokens = {one.id for text in _texts(value) for one in tokens_in(text)}
        if len(self._deidentifier.vault.recall(scope, tokens)) < len(tokens):
            raise KeyLost("the vault does not have what its tokens stand for; give the vault of the time")
        return self._deidentifier.restore_value(value, scope)

    def key_id(self) -> str:
        """The id of the key that names are hidden with: who has another key cannot tell them."""
        return hmac.digest(self._deidentifier.vault.key("hidden names"), b"id", sha256).hex()[:16]

    def mac(self, key_id: str, data: bytes, /) -> bytes:
        """A keyed digest of a name that must stand in clear, as the key of a map's item.

        Raises:
            KeyLost: It was another key.
        """
        if key_id != self.key_id():
            raise KeyLost("the key of the de-identifier is not the one that the run began with; give that")
        return hmac.digest(self._deidentifier.vault.key("hidden names"), b"name" + data, sha256)

    async def forget_run(self, run_id: str, tenant: str | None, /) -> None:
        """Erases what the vault has of a run that is about nobody in particular.

        Raises:
            CodecError: The vault cannot.
        """
        await _done(lambda: self._deidentifier.vault.erase(f"run/{run_id}", tenant=tenant or ""))

    async def forget_subject(self, subject: str, tenant: str | None, /) -> None:
        """Erases what the vault has of all runs about somebody.

        Raises:
            CodecError: The vault cannot.
        """
        await _done(lambda: self._deidentifier.vault.erase(f"subject/{subject}", tenant=tenant or ""))


async def _done(work: Any) -> Any:
    try:
        return await asyncio.to_thread(work)
    except CodecError:
        raise
    except FlujoError as error:
        raise CodecError(str(error)) from None


def _scope(about: ValueAbout) -> Scope:
    """Tokens of a store are of the run, whatever the session of its agents is; they are erased with its subject."""
    return scope_of(f"kept/{about.run_id}", about.tenant, about.subject, f"run/{about.run_id}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
