"""The command line: ``flujo``."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script; an interrupt is answered from its first moment on."""
    try:
        from flujo_core.cli.main import run_command  # noqa: PLC0415 - takes long enough to be interrupted

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
