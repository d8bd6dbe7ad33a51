"""The command line: ``flujo``."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """The console script; an interrupt is answered from its first moment on."""
    try:
        from flujo_core.cli.main import run_command  # noqa: PLC0415 - takes long enough to be interrupted

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process ends: there is nothing more to interrupt
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
