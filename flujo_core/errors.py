"""Every error that Flujo raises on purpose, and how a close match is suggested.

FlujoError
├── ConfigurationError          the set-up lacks something, or says something that cannot be
│   ├── PluginLoadError         an allowed plugin cannot be loaded, or a required one is missing
│   └── ModelNotConfigured      (also a ModelError) the model's name, key or package is missing
├── DefinitionError             a pipeline that cannot be right; found when it is built
│   ├── SignatureError          a function that cannot be a step
│   └── EdgeError               what a step gives is not what the next one takes
├── StepError                   a step failed; its cause is the exception of the last attempt
│   ├── InvalidValue            a value that does not fit its declared type
│   ├── StepTimeout             an attempt took longer than its timeout
│   ├── OutputRejected          a validator did not let an output pass
│   ├── BranchesFailed          some of the branches that were all to be tried failed; has ``.errors``
│   ├── ContextConflict         two branches changed one field of the context, and nothing says how to merge that
│   ├── LoopExhausted           a loop came to its last iteration without having what it was to have
│   ├── NoCase                  a branch has no case for what its ``on`` gave, and no default
│   └── ModelError              an agent's model gave no answer that can be used
│       ├── ModelNotConfigured
│       ├── ModelUnavailable    it did not answer, or was overloaded: trying again may help
│       ├── ModelRejected       it refused the request: trying the same again will not help
│       └── ModelMisbehaved     it answered, and never with what was asked for
├── PluginError                 a plugin's hook raised, or gave what it must not give
├── Veto                        a hook refuses the run (``model/outcome.py``)
├── NoOutput                    ``result.output`` of a run that has none (``model/run.py``)
├── RunFailed                   the run ended without a result; has ``.result`` (``model/run.py``)
│   └── RunRefused              a plugin or policy refused it (``model/run.py``)
└── StoreError                  the journal cannot be read or written
    ├── StoreRefused            the file is damaged, or not a Flujo store
    ├── RunExists               a run of that id is in the store already
    └── UnknownRun              no run of that id is in the store

A message says what was found, where, and what would work. It never holds a step's value: it may be a patient's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class FlujoError(Exception):
    """The root of all errors that Flujo raises on purpose."""


class ConfigurationError(FlujoError):
    """The set-up lacks something, or says something that cannot be."""


class PluginLoadError(ConfigurationError):
    """An allowed plugin cannot be loaded, or a required one is missing."""


class DefinitionError(FlujoError):
    """A pipeline that cannot be right; raised while it is built."""


class SignatureError(DefinitionError):
    """A function whose signature cannot be a step's."""


class EdgeError(DefinitionError):
    """What one step gives does not fit what the next one takes; names both."""


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


class OutputRejected(StepError):
    """A validator did not let an output pass.

    Attributes:
        feedback: What the validator said; it may speak of the output, so it is in no message.
    """

    feedback: str = ""


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


class StoreError(FlujoError):
    """The journal cannot be read or written."""


class StoreRefused(StoreError):
    """The file is damaged, or is not a Flujo store; it was left as it is."""


class RunExists(StoreError):
    """A run of that id is in the store already."""


class UnknownRun(StoreError):
    """No run of that id is in the store."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'x'?``, what there is, or that there is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - an error's price, not an import's

    options = sorted(set(known))
    if close := get_close_matches(name, options, n=1):
        return f"; did you mean '{close[0]}'?"
    if not options:
        return "; there is none"
    return f"; there {'is' if len(options) == 1 else 'are'} " + ", ".join(f"'{option}'" for option in options)
