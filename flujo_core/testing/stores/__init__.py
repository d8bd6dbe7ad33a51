"""The suite that every store must pass, also one of yours: ``await assert_store_conforms(make_store)``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from flujo_core.testing.stores import deletions, inboxes, journals, leases, ledgers, listings
from flujo_core.testing.stores.place import MakeStore, Place, opened

__all__ = ["STORE_CHECKS", "MakeStore", "assert_store_conforms"]

_CHECKS: Mapping[str, Callable[[Place], Awaitable[None]]] = MappingProxyType(
    {
        "records": journals.keeps,
        "order": journals.orders,
        "gaps": journals.refuses_gaps,
        "torn_writes": journals.tears_nothing,
        "two_writers": journals.begins_once,
        "many_runs": journals.keeps_apart,
        "closing": journals.outlasts_closing,
        "leases": leases.holds,
        "stale_epochs": leases.fences,
        "leases_end": leases.runs_out,
        "late_holders": leases.goes_on_late,
        "dead_holders": leases.replaces_once,
        "redemption": inboxes.posts_once,
        "mail": inboxes.keeps_mail,
        "answers_while_held": inboxes.takes_answers_while_held,
        "mail_waiting": inboxes.waits_for_mail,
        "expiry": inboxes.expires,
        "questions": inboxes.closes_questions,
        "status": listings.folds,
        "paging": listings.pages_runs,
        "question_paging": listings.pages_questions,
        "tenants": listings.keeps_tenants_apart,
        "deletion": deletions.deletes,
        "ledgers": ledgers.reserves,
        "ledgers_at_once": ledgers.reserves_once,
        "dead_holds": ledgers.forgets_the_dead,
        "forfeits": ledgers.forfeits,
    }
)

STORE_CHECKS = tuple(_CHECKS)
"""The names of the checks, to make a test of each: ``assert_store_conforms(make_store, only=[check])``."""


async def assert_store_conforms(
    make_store: MakeStore, /, *, only: Sequence[str] = STORE_CHECKS, runs: int = 1000, patience: float = 60.0
) -> None:
    """Checks that a store keeps the contract of ``flujo_core.Store``.

    What is in the place already does no harm, and what the checks write stays there: give them a place of their own.

    Args:
        make_store: Opens one and the same place, at each call with a handle of its own, as another process has it.
        only: The names of the checks, of ``STORE_CHECKS``.
        runs: How many runs are listed page by page. A store that is to be trusted passes with 100,000.
        patience: Seconds after which a check hangs; for each thousand runs as many more.

    Raises:
        AssertionError: It does not; the message lists everything that was found.
    """
    found = [
        f"- {name}: {wrong}"
        for name in only
        if (wrong := await _tried(name, make_store, runs, patience * (1 + runs / 1000)))
    ]
    if found:
        raise AssertionError("\n".join(["the store does not conform:", *found]))


async def _tried(name: str, make_store: MakeStore, runs: int, patience: float) -> str:
    """What is wrong, or nothing."""
    place = opened(make_store, runs)
    try:
        async with asyncio.timeout(patience):
            await _CHECKS[name](place)
    except AssertionError as error:
        return str(error)
    except TimeoutError:
        return f"it was not done after {patience:.0f} s"
    except Exception as error:  # whatever a store raises, it is a finding
        return f"it raised {type(error).__name__} where nothing was wrong"
    finally:
        await place.one.close()
        await place.other.close()
    return ""
