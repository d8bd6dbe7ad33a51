"""What goes wrong with a server, in the kernel's kinds of error and in words without passwords and values."""

from __future__ import annotations

import asyncpg

from flujo_core import StoreError, StoreFull, StoreRefused

GONE = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.CannotConnectNowError,
)  # fmt: skip
"""Errors after which the connection is of no more use."""

DENIED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)
FULL = (asyncpg.DiskFullError, asyncpg.OutOfMemoryError)
CLASH = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""Errors of a transaction that may be tried again as it is."""


class PostgresUnavailable(StoreError):
    """The server is away, or not there yet; a run that has failed of it can be resumed when it is."""


def failure(shown: str, error: BaseException) -> StoreError:
    """What an error of the driver is called; its text may quote values, so only its kind is told.

    Args:
        shown: How the store is called in messages.
        error: The error.
    """
    kind = type(error).__name__
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    text = f"{kind}, SQLSTATE {state}" if state else kind
    if isinstance(error, DENIED):
        made: StoreError = StoreRefused(
            f"the store {shown} does not let this user in ({text}); check user and password"
        )
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        made = StoreRefused(f"the store {shown} is in a database that there is not ({text}); create it first")
    elif isinstance(error, FULL):
        made = StoreFull(f"the store {shown} has no space left ({text}); resume the run when there is")
    elif isinstance(error, GONE) and not isinstance(error, asyncpg.TooManyConnectionsError):
        made = PostgresUnavailable(f"the server of the store {shown} is away ({text}); resume the run when it is back")
    else:
        made = StoreError(f"the store {shown} could not do its work ({text})")
    return made
