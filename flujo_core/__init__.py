"""Flujo: reliable, extensible multi-agent AI workflows. Every public name is here, and loads when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_core.config import PluginSettings, Settings
    from flujo_core.engine.stream import RunStream
    from flujo_core.errors import (
        BranchesFailed,
        ConfigurationError,
        ContextConflict,
        DefinitionError,
        EdgeError,
        FlujoError,
        InvalidValue,
        LoopExhausted,
        ModelError,
        ModelMisbehaved,
        ModelNotConfigured,
        ModelRejected,
        ModelUnavailable,
        NoCase,
        OutputRejected,
        PluginError,
        PluginLoadError,
        RunExists,
        SignatureError,
        StepError,
        StepTimeout,
        StoreError,
        StoreRefused,
        UnknownRun,
    )
    from flujo_core.flujo import Flujo
    from flujo_core.hooks.call import AgentInfo, AppInfo, AuthorizationRequest, Decision, RunEnd, RunStart, StepCall
    from flujo_core.hooks.registry import Registry
    from flujo_core.hooks.spec import Plugin, hookimpl
    from flujo_core.model.agent import AgentProtocol, AgentReply, ModelFactory, Usage
    from flujo_core.model.branch import Branch
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.diagram import diagram
    from flujo_core.model.event import (
        AttemptFailed,
        BranchDecided,
        Chunk,
        ErrorInfo,
        ItemTaken,
        LoopDecided,
        NodeCompleted,
        NodeFailed,
        NodeStarted,
        RunEnded,
        RunEvent,
        RunStarted,
        StepCompleted,
        StepFailed,
        StepStarted,
    )
    from flujo_core.model.flow import Check, Node, Pipeline, walk
    from flujo_core.model.inputs import From
    from flujo_core.model.loop import Loop
    from flujo_core.model.map import Map
    from flujo_core.model.merge import Merge
    from flujo_core.model.outcome import Skip, Stop, Veto
    from flujo_core.model.parallel import Parallel
    from flujo_core.model.policy import Cache, Retry, StepPolicy, Timeout, Validator
    from flujo_core.model.run import NodeResult, NoOutput, PipelineResult, RunFailed, RunRefused, RunState, StepResult
    from flujo_core.model.signature import Resources, RunInfo
    from flujo_core.model.step import Step, step
    from flujo_core.store.cache import CacheStore, MemoryCache
    from flujo_core.store.memory import MemoryStore
    from flujo_core.store.protocol import Record, RunSummary, Store, StoreFactory
    from flujo_core.store.sqlite import SQLiteStore

_WHERE = {
    "config": ("PluginSettings", "Settings"),
    "engine.stream": ("RunStream",),
    "errors": (
        "BranchesFailed", "ConfigurationError", "ContextConflict", "DefinitionError", "EdgeError", "FlujoError",
        "InvalidValue", "LoopExhausted", "ModelError", "ModelMisbehaved", "ModelNotConfigured", "ModelRejected",
        "ModelUnavailable", "NoCase", "OutputRejected", "PluginError", "PluginLoadError", "RunExists", "SignatureError",
        "StepError", "StepTimeout", "StoreError", "StoreRefused", "UnknownRun",
    ),
    "flujo": ("Flujo",),
    "hooks.call": ("AgentInfo", "AppInfo", "AuthorizationRequest", "Decision", "RunEnd", "RunStart", "StepCall"),
    "hooks.registry": ("Registry",),
    "hooks.spec": ("Plugin", "hookimpl"),
    "model.agent": ("AgentProtocol", "AgentReply", "ModelFactory", "Usage"),
    "model.branch": ("Branch",),
    "model.context": ("PipelineContext",),
    "model.diagram": ("diagram",),
    "model.event": (
        "AttemptFailed", "BranchDecided", "Chunk", "ErrorInfo", "ItemTaken", "LoopDecided", "NodeCompleted",
        "NodeFailed", "NodeStarted", "RunEnded", "RunEvent", "RunStarted", "StepCompleted", "StepFailed", "StepStarted",
    ),
    "model.flow": ("Check", "Node", "Pipeline", "walk"),
    "model.inputs": ("From",),
    "model.loop": ("Loop",),
    "model.map": ("Map",),
    "model.merge": ("Merge",),
    "model.outcome": ("Skip", "Stop", "Veto"),
    "model.parallel": ("Parallel",),
    "model.policy": ("Cache", "Retry", "StepPolicy", "Timeout", "Validator"),
    "model.run": ("NoOutput", "NodeResult", "PipelineResult", "RunFailed", "RunRefused", "RunState", "StepResult"),
    "model.signature": ("Resources", "RunInfo"),
    "model.step": ("Step", "step"),
    "store.cache": ("CacheStore", "MemoryCache"),
    "store.memory": ("MemoryStore",),
    "store.protocol": ("Record", "RunSummary", "Store", "StoreFactory"),
    "store.sqlite": ("SQLiteStore",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "AgentInfo", "AgentProtocol", "AgentReply", "AppInfo", "AttemptFailed", "AuthorizationRequest", "Branch",
    "BranchDecided", "BranchesFailed", "Cache", "CacheStore", "Check", "Chunk", "ConfigurationError", "ContextConflict",
    "Decision", "DefinitionError", "EdgeError", "ErrorInfo", "Flujo", "FlujoError", "From", "InvalidValue", "ItemTaken",
    "Loop", "LoopDecided", "LoopExhausted", "Map", "MemoryCache", "MemoryStore", "Merge", "ModelError", "ModelFactory",
    "ModelMisbehaved", "ModelNotConfigured", "ModelRejected", "ModelUnavailable", "NoCase", "NoOutput", "Node",
    "NodeCompleted", "NodeFailed", "NodeResult", "NodeStarted", "OutputRejected", "Parallel", "Pipeline",
    "PipelineContext", "PipelineResult", "Plugin", "PluginError", "PluginLoadError", "PluginSettings", "Record",
    "Registry", "Resources", "Retry", "RunEnd", "RunEnded", "RunEvent", "RunExists", "RunFailed", "RunInfo",
    "RunRefused", "RunStart", "RunStarted", "RunState", "RunStream", "RunSummary", "SQLiteStore", "Settings",
    "SignatureError", "Skip", "Step", "StepCall", "StepCompleted", "StepError", "StepFailed", "StepPolicy",
    "StepResult", "StepStarted", "StepTimeout", "Stop", "Store", "StoreError", "StoreFactory", "StoreRefused",
    "Timeout", "UnknownRun", "Usage", "Validator", "Veto", "diagram", "hookimpl", "step", "walk",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f"flujo_core.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
