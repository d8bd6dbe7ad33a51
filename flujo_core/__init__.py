"""Flujo: reliable, extensible multi-agent AI workflows. Every public name is here, and loads when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_core.agents.answers import (
        GeneratedCode,
        Plan,
        PlannedTask,
        Review,
        ReviewIssue,
        SQLQuery,
        TextSummary,
        Verdict,
    )
    from flujo_core.agents.builder import AgentBuilder, make_agent_async
    from flujo_core.agents.contextual import ContextualAgentFactory
    from flujo_core.agents.http_agent import HTTPAgent
    from flujo_core.agents.openai_agents import OpenAIAgent
    from flujo_core.agents.pipelines import pipeline_from_spec, pipeline_spec_schema, pipeline_to_spec
    from flujo_core.agents.roles import (
        ClassifierAgent,
        CodeGeneratorAgent,
        ExtractorAgent,
        JudgeAgent,
        PlannerAgent,
        ReviewerAgent,
        SQLQueryAgent,
        TextSummarizerAgent,
    )
    from flujo_core.agents.spec import agent_from_spec, agent_spec_schema
    from flujo_core.agents.tool import FlujoTool, tool
    from flujo_core.backend.inline import LocalBackend
    from flujo_core.backend.perform import perform_call
    from flujo_core.backend.process import ProcessPool
    from flujo_core.backend.protocol import (
        Backend,
        BackendFactory,
        RemoteCall,
        RemoteFailure,
        RemoteItem,
        RemoteOutcome,
        RemoteOutput,
        RemotePause,
        RemoteStop,
    )
    from flujo_core.config import PluginSettings, Settings, SpecSettings
    from flujo_core.engine.profile import Lack
    from flujo_core.engine.removal import subject_digest
    from flujo_core.engine.stream import RunStream
    from flujo_core.errors import (
        AlreadyAnswered,
        AmbiguousAnswer,
        AnswerError,
        BranchesFailed,
        CodecError,
        ConfigurationError,
        ContextConflict,
        DefinitionError,
        EdgeError,
        FlujoError,
        IncompatiblePipeline,
        InvalidValue,
        KeyLost,
        LabelLeak,
        LeaseLost,
        LoopExhausted,
        MailWaiting,
        ModelError,
        ModelMisbehaved,
        ModelNotConfigured,
        ModelRejected,
        ModelUnavailable,
        NoCase,
        NotAnApprover,
        NotApproved,
        OutputRejected,
        OverBudget,
        PausedWhileStreaming,
        PluginError,
        PluginLoadError,
        Poisoned,
        ProfileUnmet,
        QuestionExpired,
        ReplayMismatch,
        RunBusy,
        RunExists,
        RunUnfinished,
        SealBroken,
        SignatureError,
        SpecError,
        StaleState,
        StateError,
        StepError,
        StepTimeout,
        StoreError,
        StoreFull,
        StoreRefused,
        UnknownAddress,
        UnknownQuestion,
        UnknownRun,
        UnverifiedAnswer,
        WorkerCrashed,
    )
    from flujo_core.flujo import Flujo
    from flujo_core.hooks.call import (
        AgentInfo,
        AppInfo,
        AuthorizationRequest,
        Decision,
        PluginInfo,
        RunEnd,
        RunStart,
        StepCall,
    )
    from flujo_core.hooks.registry import Registry
    from flujo_core.hooks.spec import Plugin, hookimpl
    from flujo_core.model.agent import AgentProtocol, AgentReply, ModelFactory, StreamingAgentProtocol, Usage
    from flujo_core.model.branch import Branch
    from flujo_core.model.budget import Budget, Price, PricedModel
    from flujo_core.model.clearance import Labels
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.diagram import diagram
    from flujo_core.model.diff import PartDiff, PartTrace, RunDiff
    from flujo_core.model.event import (
        AgentReconfigured,
        AttemptFailed,
        BranchDecided,
        BudgetRefused,
        BudgetReserved,
        BudgetSettled,
        CallCompleted,
        ChangeRefused,
        Chunk,
        ErrorInfo,
        ItemTaken,
        LoopDecided,
        NodeCompleted,
        NodeFailed,
        NodeStarted,
        Origin,
        PipelineMutated,
        QuestionAnswered,
        QuestionAsked,
        QuestionLapsed,
        QuestionTerms,
        QuestionWithdrawn,
        RunEnded,
        RunEvent,
        RunPaused,
        RunResumed,
        RunStarted,
        SegmentRestarted,
        StepCompleted,
        StepFailed,
        StepStarted,
        TokenReissued,
        VoteCast,
    )
    from flujo_core.model.flow import Check, Node, Pipeline, StreamingNode, StreamingPipeline, walk
    from flujo_core.model.hints import ResourceHints
    from flujo_core.model.human import HumanInput
    from flujo_core.model.inputs import From
    from flujo_core.model.label import Label, LabelledPath, labels_of
    from flujo_core.model.leak import Leak
    from flujo_core.model.loop import Loop
    from flujo_core.model.map import Map
    from flujo_core.model.merge import Merge
    from flujo_core.model.outcome import Default, PauseForHumanInput, PipelineMutation, Reconfigure, Skip, Stop, Veto
    from flujo_core.model.parallel import Parallel
    from flujo_core.model.policy import Cache, Retry, StepPolicy, Timeout, Validator
    from flujo_core.model.question import Question
    from flujo_core.model.reconfiguration import Reconfigurable
    from flujo_core.model.result import BudgetExceeded, NoOutput, PipelineResult, RunCancelled, RunFailed, RunRefused
    from flujo_core.model.run import NodeResult, QuestionState, RunState, StepResult
    from flujo_core.model.signature import Resources, RunInfo
    from flujo_core.model.spend import Limit, Spend, Standing
    from flujo_core.model.state import PipelineState
    from flujo_core.model.step import Step, StreamingStep, step
    from flujo_core.recipes.best import best_of
    from flujo_core.recipes.refine import Round, refine
    from flujo_core.recipes.score import Checklist, ChecklistItem, ItemScore, Score
    from flujo_core.recipes.scoring import scoring
    from flujo_core.recipes.solve import Assignment, Criteria, Criterion, Submission, review_solve_validate
    from flujo_core.store.aes import AesGcmCodec, Key, KeyProvider, key_ring
    from flujo_core.store.byte_codec import About, ByteCodec, Codec, CodecFactory, EncryptingCodec, HidingCodec
    from flujo_core.store.cache import CacheStore, MemoryCache
    from flujo_core.store.ledger import Hold, Shortage
    from flujo_core.store.memory import MemoryStore
    from flujo_core.store.protocol import (
        Lease,
        Mail,
        OpenQuestion,
        Record,
        RunSummary,
        Store,
        StoreFactory,
        WatchableStore,
    )
    from flujo_core.store.sqlite import SQLiteStore
    from flujo_core.store.value_codec import ForgettingCodec, ValueAbout, ValueCodec, ValueKind
    from flujo_core.store.zstd import ZstdCodec

_WHERE = {
    "agents.answers": (
        "GeneratedCode", "Plan", "PlannedTask", "Review", "ReviewIssue", "SQLQuery", "TextSummary", "Verdict",
    ),
    "agents.builder": ("AgentBuilder", "make_agent_async"),
    "agents.contextual": ("ContextualAgentFactory",),
    "agents.http_agent": ("HTTPAgent",),
    "agents.openai_agents": ("OpenAIAgent",),
    "agents.pipelines": ("pipeline_from_spec", "pipeline_spec_schema", "pipeline_to_spec"),
    "agents.roles": (
        "ClassifierAgent", "CodeGeneratorAgent", "ExtractorAgent", "JudgeAgent", "PlannerAgent", "ReviewerAgent",
        "SQLQueryAgent", "TextSummarizerAgent",
    ),
    "agents.spec": ("agent_from_spec", "agent_spec_schema"),
    "agents.tool": ("FlujoTool", "tool"),
    "backend.inline": ("LocalBackend",),
    "backend.perform": ("perform_call",),
    "backend.process": ("ProcessPool",),
    "backend.protocol": (
        "Backend", "BackendFactory", "RemoteCall", "RemoteFailure", "RemoteItem", "RemoteOutcome", "RemoteOutput",
        "RemotePause", "RemoteStop",
    ),
    "config": ("PluginSettings", "Settings", "SpecSettings"),
    "engine.profile": ("Lack",),
    "engine.removal": ("subject_digest",),
    "engine.stream": ("RunStream",),
    "errors": (
        "AlreadyAnswered", "AmbiguousAnswer", "AnswerError", "BranchesFailed", "CodecError", "ConfigurationError",
        "ContextConflict", "DefinitionError", "EdgeError", "FlujoError", "IncompatiblePipeline", "InvalidValue",
        "KeyLost", "LabelLeak", "LeaseLost", "LoopExhausted", "MailWaiting", "ModelError", "ModelMisbehaved",
        "ModelNotConfigured", "ModelRejected", "ModelUnavailable", "NoCase", "NotAnApprover", "NotApproved",
        "OutputRejected", "OverBudget", "PausedWhileStreaming", "PluginError", "PluginLoadError", "Poisoned",
        "ProfileUnmet", "QuestionExpired", "ReplayMismatch", "RunBusy", "RunExists", "RunUnfinished", "SealBroken",
        "SignatureError", "SpecError", "StaleState", "StateError", "StepError", "StepTimeout", "StoreError",
        "StoreFull", "StoreRefused", "UnknownAddress", "UnknownQuestion", "UnknownRun", "UnverifiedAnswer",
        "WorkerCrashed",
    ),
    "flujo": ("Flujo",),
    "hooks.call": (
        "AgentInfo", "AppInfo", "AuthorizationRequest", "Decision", "PluginInfo", "RunEnd", "RunStart", "StepCall",
    ),
    "hooks.registry": ("Registry",),
    "hooks.spec": ("Plugin", "hookimpl"),
    "model.agent": ("AgentProtocol", "AgentReply", "ModelFactory", "StreamingAgentProtocol", "Usage"),
    "model.branch": ("Branch",),
    "model.budget": ("Budget", "Price", "PricedModel"),
    "model.clearance": ("Labels",),
    "model.context": ("PipelineContext",),
    "model.diagram": ("diagram",),
    "model.diff": ("PartDiff", "PartTrace", "RunDiff"),
    "model.event": (
        "AgentReconfigured", "AttemptFailed", "BranchDecided", "BudgetRefused", "BudgetReserved", "BudgetSettled",
        "CallCompleted", "ChangeRefused", "Chunk", "ErrorInfo", "ItemTaken", "LoopDecided", "NodeCompleted",
        "NodeFailed", "NodeStarted", "Origin", "PipelineMutated", "QuestionAnswered", "QuestionAsked", "QuestionLapsed",
        "QuestionTerms", "QuestionWithdrawn", "RunEnded", "RunEvent", "RunPaused", "RunResumed", "RunStarted",
        "SegmentRestarted", "StepCompleted", "StepFailed", "StepStarted", "TokenReissued", "VoteCast",
    ),
    "model.flow": ("Check", "Node", "Pipeline", "StreamingNode", "StreamingPipeline", "walk"),
    "model.hints": ("ResourceHints",),
    "model.human": ("HumanInput",),
    "model.inputs": ("From",),
    "model.label": ("Label", "LabelledPath", "labels_of"),
    "model.leak": ("Leak",),
    "model.loop": ("Loop",),
    "model.map": ("Map",),
    "model.merge": ("Merge",),
    "model.outcome": ("Default", "PauseForHumanInput", "PipelineMutation", "Reconfigure", "Skip", "Stop", "Veto"),
    "model.parallel": ("Parallel",),
    "model.policy": ("Cache", "Retry", "StepPolicy", "Timeout", "Validator"),
    "model.question": ("Question",),
    "model.reconfiguration": ("Reconfigurable",),
    "model.result": ("BudgetExceeded", "NoOutput", "PipelineResult", "RunCancelled", "RunFailed", "RunRefused"),
    "model.run": ("NodeResult", "QuestionState", "RunState", "StepResult"),
    "model.signature": ("Resources", "RunInfo"),
    "model.spend": ("Limit", "Spend", "Standing"),
    "model.state": ("PipelineState",),
    "model.step": ("Step", "StreamingStep", "step"),
    "recipes.best": ("best_of",),
    "recipes.refine": ("Round", "refine"),
    "recipes.score": ("Checklist", "ChecklistItem", "ItemScore", "Score"),
    "recipes.scoring": ("scoring",),
    "recipes.solve": ("Assignment", "Criteria", "Criterion", "Submission", "review_solve_validate"),
    "store.aes": ("AesGcmCodec", "Key", "KeyProvider", "key_ring"),
    "store.byte_codec": ("About", "ByteCodec", "Codec", "CodecFactory", "EncryptingCodec", "HidingCodec"),
    "store.cache": ("CacheStore", "MemoryCache"),
    "store.ledger": ("Hold", "Shortage"),
    "store.memory": ("MemoryStore",),
    "store.protocol": (
        "Lease", "Mail", "OpenQuestion", "Record", "RunSummary", "Store", "StoreFactory", "WatchableStore",
    ),
    "store.sqlite": ("SQLiteStore",),
    "store.value_codec": ("ForgettingCodec", "ValueAbout", "ValueCodec", "ValueKind"),
    "store.zstd": ("ZstdCodec",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "About", "AesGcmCodec", "AgentBuilder", "AgentInfo", "AgentProtocol", "AgentReconfigured", "AgentReply",
    "AlreadyAnswered", "AmbiguousAnswer", "AnswerError", "AppInfo", "Assignment", "AttemptFailed",
    "AuthorizationRequest", "Backend", "BackendFactory", "Branch", "BranchDecided", "BranchesFailed", "Budget",
    "BudgetExceeded", "BudgetRefused", "BudgetReserved", "BudgetSettled", "ByteCodec", "Cache", "CacheStore",
    "CallCompleted", "ChangeRefused", "Check", "Checklist", "ChecklistItem", "Chunk", "ClassifierAgent",
    "CodeGeneratorAgent", "Codec", "CodecError", "CodecFactory", "ConfigurationError", "ContextConflict",
    "ContextualAgentFactory", "Criteria", "Criterion", "Decision", "Default", "DefinitionError", "EdgeError",
    "EncryptingCodec", "ErrorInfo", "ExtractorAgent", "Flujo", "FlujoError", "FlujoTool", "ForgettingCodec", "From",
    "GeneratedCode",
    "HTTPAgent", "HidingCodec", "Hold", "HumanInput", "IncompatiblePipeline", "InvalidValue", "ItemScore", "ItemTaken",
    "JudgeAgent", "Key", "KeyLost", "KeyProvider", "Label", "LabelLeak", "LabelledPath", "Labels", "Lack", "Leak",
    "Lease", "LeaseLost", "Limit", "LocalBackend", "Loop", "LoopDecided", "LoopExhausted", "Mail", "MailWaiting", "Map",
    "MemoryCache", "MemoryStore", "Merge", "ModelError", "ModelFactory", "ModelMisbehaved", "ModelNotConfigured",
    "ModelRejected", "ModelUnavailable", "NoCase", "NoOutput", "Node", "NodeCompleted", "NodeFailed", "NodeResult",
    "NodeStarted", "NotAnApprover", "NotApproved", "OpenAIAgent", "OpenQuestion", "Origin", "OutputRejected",
    "OverBudget", "Parallel", "PartDiff", "PartTrace", "PauseForHumanInput", "PausedWhileStreaming", "Pipeline",
    "PipelineContext", "PipelineMutated", "PipelineMutation", "PipelineResult", "PipelineState", "Plan", "PlannedTask",
    "PlannerAgent", "Plugin", "PluginError", "PluginInfo", "PluginLoadError", "PluginSettings", "Poisoned", "Price",
    "PricedModel",
    "ProcessPool", "ProfileUnmet", "Question", "QuestionAnswered", "QuestionAsked", "QuestionExpired", "QuestionLapsed",
    "QuestionState", "QuestionTerms", "QuestionWithdrawn", "Reconfigurable", "Reconfigure", "Record", "Registry",
    "RemoteCall", "RemoteFailure", "RemoteItem", "RemoteOutcome", "RemoteOutput", "RemotePause", "RemoteStop",
    "ReplayMismatch", "ResourceHints", "Resources", "Retry", "Review", "ReviewIssue", "ReviewerAgent", "Round",
    "RunBusy", "RunCancelled", "RunDiff", "RunEnd", "RunEnded", "RunEvent", "RunExists", "RunFailed", "RunInfo",
    "RunPaused", "RunRefused", "RunResumed", "RunStart", "RunStarted", "RunState", "RunStream", "RunSummary",
    "RunUnfinished", "SQLQuery", "SQLQueryAgent", "SQLiteStore", "Score", "SealBroken", "SegmentRestarted", "Settings",
    "Shortage", "SignatureError", "Skip", "SpecError", "SpecSettings", "Spend", "StaleState", "Standing", "StateError",
    "Step", "StepCall", "StepCompleted", "StepError", "StepFailed", "StepPolicy", "StepResult", "StepStarted",
    "StepTimeout", "Stop", "Store", "StoreError", "StoreFactory", "StoreFull", "StoreRefused", "StreamingAgentProtocol",
    "StreamingNode", "StreamingPipeline", "StreamingStep", "Submission", "TextSummarizerAgent", "TextSummary",
    "Timeout", "TokenReissued", "UnknownAddress", "UnknownQuestion", "UnknownRun", "UnverifiedAnswer", "Usage",
    "Validator", "ValueAbout", "ValueCodec", "ValueKind", "Verdict", "Veto", "VoteCast", "WatchableStore",
    "WorkerCrashed", "ZstdCodec", "agent_from_spec", "agent_spec_schema", "best_of", "diagram", "hookimpl", "key_ring",
    "labels_of", "make_agent_async", "perform_call", "pipeline_from_spec", "pipeline_spec_schema", "pipeline_to_spec",
    "refine", "review_solve_validate", "scoring", "step", "subject_digest", "tool", "walk",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f"flujo_core.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
