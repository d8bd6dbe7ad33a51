"""``python -m flujo_core.cli``: the same as ``flujo``."""

from flujo_core.cli import main

main()
