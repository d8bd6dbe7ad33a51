"""What goes on in a worker process: one call after the other, until the process that started it lets go of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from flujo_core.backend.perform import failure_of, perform_call
from flujo_core.backend.protocol import RemoteCall, encoded_outcome

READY = b"ready"
"""The first thing that a worker says."""

BEGUN = b"begun"
"""What it says when it has a call, and before it does that: one that dies before has done nothing of it."""


def serve(pipe: Connection) -> None:
    """Does the calls that come; ends when the other end of the pipe is closed.

    Args:
        pipe: Where they come from, and outcomes go to.
    """
    _become_a_group()
    _end_with_parent()
    with suppress(EOFError, OSError):  # the other end is closed
        pipe.send_bytes(READY)
        while True:
            call = RemoteCall.decoded(pipe.recv_bytes())
            pipe.send_bytes(BEGUN)
            outcome = _performed(call)
            for stream in (sys.stdout, sys.stderr):
                with suppress(AttributeError, ValueError, OSError):  # a step may have closed or replaced it
                    stream.flush()  # the worker may be killed before it would be
            pipe.send_bytes(outcome)


def _performed(call: RemoteCall) -> bytes:
    """The outcome of a call, as it is sent."""
    try:
        return encoded_outcome(perform_call(call))
    except ValueError as error:  # a text that cannot be written: it has half of a surrogate pair
        return encoded_outcome(failure_of(error))


def _become_a_group() -> None:
    """Makes what the steps start go with this process; a Ctrl-C is for the process that has started it."""
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        os.setpgid(0, 0)


def _end_with_parent() -> None:
    """Sees to it that this process, and all that it has started, end when the process ends that has started it."""
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_watch, args=(parent.sentinel,), name="flujo-parent", daemon=True).start()
    if sys.platform == "linux":  # a step in C code that keeps the threads from running is ended by the kernel
        import fcntl  # noqa: PLC0415 - there is none on Windows

        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, -os.getpgrp())
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _watch(sentinel: int) -> None:
    wait([sentinel])
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
