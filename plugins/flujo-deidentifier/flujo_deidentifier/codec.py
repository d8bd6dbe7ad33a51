"""Codec: what a store keeps of a run has tokens in the places of what identifies somebody."""

from __future__ import annotations

import asyncio
from typing import Any

from flujo_core import CodecError, FlujoError, ValueAbout
from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.vault import Scope


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
        return await _done(lambda: self._deidentifier.restore_value(value, _scope(about)))


async def _done(work: Any) -> Any:
    try:
        return await asyncio.to_thread(work)
    except FlujoError as error:
        raise CodecError(str(error)) from None


def _scope(about: ValueAbout) -> Scope:
    """Tokens of a store are of the run; they are erased by its subject, or by the run."""
    return Scope(f"kept/{about.run_id}", about.tenant or "", about.subject or f"run/{about.run_id}")
