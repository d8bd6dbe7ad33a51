"""What plugin authors test with. It needs no test framework: an ``AssertionError`` is how it says no."""

from __future__ import annotations

from flujo_core.testing.conformance.suite import Conformance, assert_conforms
from flujo_core.testing.plugin_harness import PluginHarness
from flujo_core.testing.recorder import HookCall, HookRecorder

__all__ = ["Conformance", "HookCall", "HookRecorder", "PluginHarness", "assert_conforms"]
