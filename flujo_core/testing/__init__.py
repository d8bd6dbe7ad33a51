"""What one tests pipelines and plugins with. It needs no test framework: an ``AssertionError`` is how it says no."""

from __future__ import annotations

from flujo_core.testing.conformance.suite import Conformance, assert_conforms
from flujo_core.testing.fake import Fake
from flujo_core.testing.harness import Harness, harness
from flujo_core.testing.plugin_harness import PluginHarness
from flujo_core.testing.recorder import HookCall, HookRecorder
from flujo_core.testing.roles import RoleScore, evaluate_role
from flujo_core.testing.single import run_step
from flujo_core.testing.virtual_time import VirtualTime, virtual_time

__all__ = [
    "Conformance", "Fake", "Harness", "HookCall", "HookRecorder", "PluginHarness", "RoleScore", "VirtualTime",
    "assert_conforms", "evaluate_role", "harness", "run_step", "virtual_time",
]  # fmt: skip
