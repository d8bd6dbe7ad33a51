"""Every error that Flujo raises on purpose, and how a close match is suggested.

FlujoError
├── ConfigurationError          the set-up lacks something, or says something that cannot be
│   ├── PluginLoadError         an allowed plugin cannot be loaded, or a required one is missing
│   ├── ProfileUnmet            the deployment lacks what its profile asks for; has ``.lacks``
│   └── ModelNotConfigured      (also a ModelError) the model's name, key or package is missing
├── DefinitionError             a pipeline that cannot be right; found when it is built
│   ├── SignatureError          a function that cannot be a step
│   ├── EdgeError               what a step gives is not what the next one takes
│   ├── LabelLeak               labelled data would leave the boundary; has ``.leaks``
│   └── SpecError               a spec of a pipeline says what cannot be; has ``.place``
├── StepError                   a step failed; its cause is the exception of the last attempt
│   ├── InvalidValue            a value that does not fit its declared type
│   ├── StepTimeout             an attempt took longer than its timeout
│   ├── WorkerCrashed           the process that a backend ran an attempt in ended before the attempt did
│   ├── OutputRejected          a validator did not let an output pass
│   ├── BranchesFailed          some of the branches that were all to be tried failed; has ``.errors``
│   ├── ContextConflict         two branches changed one field of the context, and nothing says how to merge that
│   ├── LoopExhausted           a loop came to its last iteration without having what it was to have
│   ├── NoCase                  a branch has no case for what its ``on`` gave, and no default
│   ├── ModelError              an agent's model gave no answer that can be used
│   │   ├── ModelNotConfigured
│   │   ├── ModelUnavailable    it did not answer, or was overloaded: trying again may help
│   │   ├── ModelRejected       it refused the request: trying the same again will not help
│   │   └── ModelMisbehaved     it answered, and never with what was asked for
│   ├── OverBudget              a budget has no room for what a step would spend
│   ├── NotApproved             somebody said no to a tool that runs as a step and needs approval
│   ├── PausedWhileStreaming    a step or a hook asks a person while steps stream into each other
│   ├── Poisoned                a step was begun again and again, and its process died each time
│   └── QuestionExpired         (also an AnswerError) nobody answered in time
├── PluginError                 a plugin's hook raised, or gave what it must not give
├── Veto                        a hook refuses the run (``model/outcome.py``)
├── NoOutput                    ``result.output`` of a run that has none (``model/result.py``)
├── RunFailed                   the run ended without a result; has ``.result`` (``model/result.py``)
│   ├── RunRefused              a plugin or policy refused it (``model/result.py``)
│   ├── BudgetExceeded          a budget had no room for what it would have spent (``model/result.py``)
│   └── RunCancelled            somebody cancelled it (``model/result.py``)
├── AnswerError                 an answer to a question that cannot be taken
│   ├── AlreadyAnswered         somebody was faster
│   ├── AmbiguousAnswer         several questions are open, and nothing says which one is meant
│   ├── UnknownQuestion         no such question is open
│   ├── NotAnApprover           the answer is of somebody whom the question does not name
│   ├── UnverifiedAnswer        no plugin has confirmed whose answer it is, and the profile wants that
│   └── QuestionExpired         its time was over
├── IncompatiblePipeline        a run cannot go on with this code; has ``.differences``
├── UnknownAddress              nothing has run at an address of a run
├── StateError                  a ``PipelineState`` that is not taken
│   ├── StaleState              the store has more of the run
│   └── SealBroken              its seal is missing or wrong
└── StoreError                  the journal cannot be read or written
    ├── StoreRefused            the file is damaged, or not a Flujo store
    ├── StoreFull               there is no space left
    ├── RunExists               a run of that id is in the store already
    ├── UnknownRun              no run of that id is in the store
    ├── RunUnfinished           a run that has not ended is not deleted
    ├── ReplayMismatch          what a run's records say of its end does not follow from the others
    ├── RunBusy                 somebody else goes on with the run; has ``.until``
    ├── LeaseLost               somebody else has taken the run over
    ├── MailWaiting             a lease cannot be given back before the run's inbox was read
    └── CodecError              what was kept cannot be decoded: a codec is missing, or it was changed
        └── KeyLost             a key of an encrypting codec cannot be had

A message says what was found, where, and what would work. It never holds a step's value: it may be a patient's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class FlujoError(Exception):
    """The root of all errors that Flujo raises on purpose."""


class ConfigurationError(FlujoError):
    """The set-up lacks something, or says something that cannot be."""


class PluginLoadError(ConfigurationError):
    """An allowed plugin cannot be loaded, or a required one is missing."""


class ProfileUnmet(ConfigurationError):
    """The deployment lacks what its profile asks for.

    Args:
        profile: The profile.
        lacks: What is lacking, each with what would mend it.

    Attributes:
        lacks: The same.
    """

    def __init__(self, profile: str, lacks: Sequence[object]) -> None:
        said = "; and ".join(map(str, lacks))
        super().__init__(f"the deployment does not meet its profile, '{profile}': {said}")
        self.lacks = tuple(lacks)


class DefinitionError(FlujoError):
    """A pipeline that cannot be right; raised while it is built."""


class SignatureError(DefinitionError):
    """A function whose signature cannot be a step's."""


class EdgeError(DefinitionError):
    """What one step gives does not fit what the next one takes; names both."""


class LabelLeak(DefinitionError):
    """Labelled data would leave the boundary, and the deployment is regulated.

    Args:
        leaks: The leaks.

    Attributes:
        leaks: The same, as ``flujo_core.Leak``.
    """

    def __init__(self, leaks: Sequence[object]) -> None:
        said = "; and ".join(map(str, leaks))
        super().__init__(f"labelled data would leave a regulated deployment: {said}; clear it, or keep it inside")
        self.leaks = tuple(leaks)


class SpecError(DefinitionError):
    """A spec of a pipeline says what cannot be.

    Args:
        reason: What is wrong there.
        place: The keys and indexes that lead there: ``("steps", 2, "until")``; empty: the whole.
        where: Which spec it is.

    Attributes:
        reason: What is wrong there.
        place: The keys and indexes that lead there.
    """

    def __init__(self, reason: str, place: Sequence[str | int] = (), where: str = "the pipeline spec") -> None:
        said = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place)
        super().__init__(f"{where}, at '{said.lstrip('.')}': {reason}" if place else f"{where}: {reason}")
        self.reason = reason
        self.place = tuple(place)


class StepError(FlujoError):
    """A step failed.

    ``__cause__`` is the exception of the last attempt. ``str()`` names its type only: the text of a foreign
    exception may hold a value of the run.

    Attributes:
        address: The address of the step, or None when the failure is not (yet) tied to one.
        attempts: How often the step was tried.
        usage: What an agent used before it failed (a ``Usage``), or None.
    """

    address: str | None = None
    attempts: int = 0
    usage: Any = None


class InvalidValue(StepError):
    """A value does not fit the type declared for it; the message has the field's path, never the value."""


class StepTimeout(StepError):
    """An attempt of a step took longer than its ``timeout``."""


class WorkerCrashed(StepError):
    """The process that a backend ran an attempt in ended before the attempt did; trying again may help."""


class OutputRejected(StepError):
    """A validator did not let an output pass.

    Attributes:
        feedback: What the validator said; it may speak of the output, so it is in no message.
    """

    feedback: str = ""


class OverBudget(StepError):
    """A budget has no room for what a step would spend; nothing was sent. Trying again does not help."""


class NotApproved(StepError):
    """Somebody said no: a tool that needs approval, and runs as a step, was not called."""


class BranchesFailed(StepError):
    """Some of the branches of a ``Parallel``, or items of a ``Map``, failed; all others ran to their ends.

    Attributes:
        errors: Each failure, by the address of the branch or item.
    """

    errors: Mapping[str, StepError] = {}


class ContextConflict(StepError):
    """Two branches changed one field of the context that has no reducer, or one broke its reducer's rule."""


class LoopExhausted(StepError):
    """A loop came to its last iteration, and its ``until`` was not satisfied."""


class NoCase(StepError):
    """A branch has no case for what its ``on`` gave, and no default."""


class ModelError(StepError):
    """An agent's model gave no answer that can be used."""


class ModelNotConfigured(ModelError, ConfigurationError):
    """The model's name is unknown, or its key or package is missing."""


class ModelUnavailable(ModelError):
    """The model did not answer, or was overloaded; trying again later may help."""


class ModelRejected(ModelError):
    """The model's server refused the request; sending the same again will not help."""


class ModelMisbehaved(ModelError):
    """The model answered, and never with what was asked for."""


class PausedWhileStreaming(StepError):
    """A step or a hook asks a person while steps stream into each other: what has left cannot wait for the answer."""


class Poisoned(StepError):
    """A step was begun several times without an outcome: its process died each time, perhaps by what the step does."""


class PluginError(FlujoError):
    """A plugin's hook raised, or gave back something that it must not.

    Attributes:
        what: What it did: ``raised ValueError``.
        plugin: The plugin's name.
        distribution: The distribution that brought it, or None when it was given to ``Flujo`` directly.
        version: That distribution's version.
        hook: The hook's name.
        step: The address of the step, or None for a hook of the whole run.
    """

    def __init__(
        self, what: str, *, plugin: str, distribution: str | None, version: str | None, hook: str, step: str | None
    ) -> None:
        origin = f" ({distribution} {version})" if distribution else ""
        place = f" at step '{step}'" if step else ""
        super().__init__(f"plugin '{plugin}'{origin} {what} in '{hook}'{place}")
        self.what = what
        self.plugin = plugin
        self.distribution = distribution
        self.version = version
        self.hook = hook
        self.step = step

    def __reduce__(self) -> tuple[Any, ...]:
        return _plugin_error, (self.what, self.plugin, self.distribution, self.version, self.hook, self.step)


def _plugin_error(
    what: str, plugin: str, distribution: str | None, version: str | None, hook: str, step: str | None
) -> PluginError:
    """The error again, in another process."""
    return PluginError(what, plugin=plugin, distribution=distribution, version=version, hook=hook, step=step)


class AnswerError(FlujoError):
    """An answer to a question that cannot be taken."""


class AlreadyAnswered(AnswerError):
    """The question has its answer; this one changed nothing."""


class AmbiguousAnswer(AnswerError):
    """The run waits on several questions, and nothing says which one the answer is for; give its token."""


class UnknownQuestion(AnswerError):
    """The run has no such question, or has withdrawn it."""


class NotAnApprover(AnswerError):
    """The question names who may answer it, and this is somebody else."""


class UnverifiedAnswer(AnswerError):
    """No plugin has confirmed whose answer it is, which a regulated deployment wants."""


class QuestionExpired(StepError, AnswerError):
    """The time in which a question could be answered is over."""


class IncompatiblePipeline(FlujoError):
    """A run cannot go on with this pipeline: it would skip, repeat or mistake something.

    Attributes:
        differences: Each thing that stands against it, a sentence with its remedy.
    """

    def __init__(self, run_id: str, differences: Iterable[str]) -> None:
        self.run_id = run_id
        self.differences = tuple(differences)
        super().__init__(f"run '{run_id}' cannot go on with this pipeline: {'; '.join(self.differences)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_id, self.differences)


class UnknownAddress(FlujoError):
    """Nothing has run at an address of a run."""


class StateError(FlujoError):
    """A ``PipelineState`` that cannot be gone on from."""


class StaleState(StateError):
    """The store has more of the run than the state."""


class SealBroken(StateError):
    """The state has no seal, or one that does not fit: it was changed, or sealed with another key."""


class StoreError(FlujoError):
    """The journal cannot be read or written."""


class StoreRefused(StoreError):
    """The file is damaged, or is not a Flujo store; it was left as it is."""


class StoreFull(StoreError):
    """There is no space left; what was kept is whole, and the run can be resumed once there is."""


class RunExists(StoreError):
    """A run of that id is in the store already."""


class UnknownRun(StoreError):
    """No run of that id is in the store."""


class RunUnfinished(StoreError):
    """A run that has not ended is not deleted, unless that is forced."""


class ReplayMismatch(StoreError):
    """What the records of a run say of its end does not follow from what they say of its steps."""


class RunBusy(StoreError):
    """Somebody else goes on with the run.

    Attributes:
        until: When their lease runs out unless it is renewed, in seconds since the epoch, by the store's clock.
        holder: Who has the lease.
        epoch: Its epoch.
    """

    def __init__(self, message: str, until: float = 0.0, holder: str = "", epoch: int = 0) -> None:
        super().__init__(message)
        self.until = until
        self.holder = holder
        self.epoch = epoch


class LeaseLost(StoreError):
    """Somebody else has taken the run over; nothing more was written."""


class MailWaiting(StoreError):
    """A lease cannot be given back: there is mail for the run that its journal has not taken in."""


class CodecError(StoreError):
    """What a store has kept cannot be decoded, or cannot be encoded: a codec is not there, or bytes were changed."""


class KeyLost(CodecError):
    """A key of an encrypting codec cannot be had; what was written with it can be read when it is there again."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'x'?``, what there is, or that there is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - an error's price, not an import's

    options = sorted(set(known))
    if close := get_close_matches(name, options, n=1):
        return f"; did you mean '{close[0]}'?"
    if not options:
        return "; there is none"
    return f"; there {'is' if len(options) == 1 else 'are'} " + ", ".join(f"'{option}'" for option in options)
