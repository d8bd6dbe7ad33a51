"""The suite that every backend must pass, also one of yours: ``await assert_backend_conforms(make_backend)``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from flujo_core.backend.protocol import Backend, BackendFactory
from flujo_core.testing.backends import force, outcomes
from flujo_core.testing.backends.trial import Trying

__all__ = ["BACKEND_CHECKS", "assert_backend_conforms"]

_CHECKS: Mapping[str, Callable[[Trying], Awaitable[None]]] = MappingProxyType(
    {
        "declared": outcomes.declares,
        "outputs": outcomes.gives_outputs,
        "info": outcomes.tells_where_it_runs,
        "context": outcomes.gives_patches,
        "validation": outcomes.validates,
        "failures": outcomes.fails_by_class,
        "missing": outcomes.misses,
        "stops_and_questions": outcomes.stops_and_asks,
        "side_by_side": outcomes.keeps_apart,
        "closing": outcomes.works_after_closing,
        "cancellation": force.cancels,
        "crashes": force.survives_crashes,
        "timeouts": force.times_out,
    }
)

BACKEND_CHECKS = tuple(_CHECKS)
"""The names of the checks, to make a test of each: ``assert_backend_conforms(make_backend, only=[check])``."""


async def assert_backend_conforms(
    make_backend: BackendFactory, /, *, only: Sequence[str] = BACKEND_CHECKS, patience: float = 60.0
) -> None:
    """Checks that a backend keeps the contract of ``flujo_core.Backend``.

    What it runs must be able to import ``flujo_core.testing``, and to write into the temporary folder of this machine.
    A backend that does not isolate is not tried with crashes, nor with what has to be stopped by force.

    Args:
        make_backend: Makes one; called once for each check.
        only: The names of the checks, of ``BACKEND_CHECKS``.
        patience: Seconds after which a check hangs.

    Raises:
        AssertionError: It does not; the message lists everything that was found.
    """
    found = [f"- {name}: {wrong}" for name in only if (wrong := await _tried(name, make_backend(), patience))]
    if found:
        raise AssertionError("\n".join(["the backend does not conform:", *found]))


async def _tried(name: str, backend: Backend, patience: float) -> str:
    """What is wrong, or nothing."""
    try:
        async with asyncio.timeout(patience):
            await _CHECKS[name](Trying(backend))
    except AssertionError as error:
        return str(error)
    except TimeoutError:
        return f"it was not done after {patience:g} s"
    except Exception as error:  # whatever a backend raises, it is a finding
        return f"it raised {type(error).__name__} where nothing was wrong"
    finally:
        await backend.aclose()
    return ""
