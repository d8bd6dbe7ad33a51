"""What may happen around a node: how often it is tried, how long that may take, what stands in for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from flujo_core.errors import BranchesFailed, ConfigurationError, DefinitionError, ModelRejected, OverBudget, StepError
from flujo_core.model.clearance import NO_LABELS, Labels
from flujo_core.model.hints import NO_HINTS, ResourceHints
from flujo_core.model.reconfiguration import Reconfigurable
from flujo_core.model.slotted import frozen

if TYPE_CHECKING:
    from flujo_core.model.flow import Node

HOPELESS = (ConfigurationError, ModelRejected, OverBudget)

LOCAL = "local"
"""The name of the backend that is this process."""

Validator: TypeAlias = Callable[..., Any]
"""Looks at an output: gives None if it may pass, else what is wrong with it, for the next attempt. It may be async."""

Migrations: TypeAlias = Mapping[str, Callable[[Any], Any] | None]
"""By an earlier version of a node, what turns an output of it into one of this version; None: it is good as it is."""


@frozen()
class Retry:
    """How often a failing step is tried, and how long it waits in between.

    The wait before attempt n is ``backoff * factor ** (n - 2)`` seconds, at most ``max_backoff``, changed at random by
    up to the share ``jitter`` of itself.

    Args:
        attempts: How often the step is tried in all, at least 1.
        backoff: Seconds before the second attempt.
        factor: How much longer each further wait is.
        max_backoff: The longest wait, in seconds.
        jitter: A share from 0 to 1.
        on: The exceptions after which the step is tried again; but never after a ``ConfigurationError``, a
            ``ModelRejected`` or an ``OverBudget``, which the same again would meet again.

    Raises:
        DefinitionError: A number is out of its range.
    """

    attempts: int
    backoff: float = 0.0
    factor: float = 2.0
    max_backoff: float = 60.0
    jitter: float = 0.1
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int:
            raise DefinitionError(f"'attempts' of a Retry is a whole number, not {type(self.attempts).__name__!r}")
        if self.attempts < 1:
            raise DefinitionError(
                f"'attempts' of a Retry counts the first attempt too; it is {self.attempts}, not >= 1"
            )
        if type(self.on) is not tuple or not all(isinstance(one, type) for one in self.on):
            raise DefinitionError("'on' of a Retry is a tuple of exception classes, such as '(ConnectionError,)'")
        for name in ("backoff", "max_backoff"):
            if not getattr(self, name) >= 0:  # so that NaN is refused too
                raise DefinitionError(f"'{name}' of a Retry is in seconds; it is {getattr(self, name)}, not >= 0")
        if not self.factor >= 1 or not 0 <= self.jitter <= 1:
            raise DefinitionError("'factor' of a Retry is at least 1, and 'jitter' between 0 and 1")

    def wants(self, error: BaseException, attempt: int) -> bool:
        """Whether there is to be another attempt after ``error`` in attempt number ``attempt``.

        An error that says that a step failed counts as what it was caused by, too; one that says that branches failed,
        only if there is to be one after each of theirs.
        """
        if isinstance(error, BranchesFailed) and error.errors:
            return all(self.wants(one, attempt) for one in error.errors.values())
        causes = [error]
        while isinstance(causes[-1], StepError) and causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        if attempt >= self.attempts or any(isinstance(one, HOPELESS) for one in causes):
            return False
        return any(isinstance(one, self.on) for one in causes)

    def wait(self, attempt: int, chance: float) -> float:
        """Seconds between attempt number ``attempt`` and the next one.

        Args:
            attempt: From 1.
            chance: A random number from 0 to 1.
        """
        try:
            seconds = min(self.backoff * self.factor ** (attempt - 1), self.max_backoff)
        except OverflowError:
            seconds = self.max_backoff if self.backoff else 0.0
        return seconds * (1 + self.jitter * (2 * chance - 1))


@frozen()
class Timeout:
    """How long one attempt may take.

    Args:
        run: Seconds in all.
        idle: Seconds without a sign of life, which is a piece of an agent's answer.

    Raises:
        DefinitionError: A number is not above 0.
    """

    run: float | None = None
    idle: float | None = None

    def __post_init__(self) -> None:
        for seconds in (self.run, self.idle):
            if seconds is None:
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise DefinitionError(f"'timeout' is a number of seconds, not {type(seconds).__name__!r}")
            if not seconds > 0:
                raise DefinitionError(f"'timeout' is in seconds and above 0, not {seconds}")


@frozen()
class Cache:
    """Keeps what a node made of an input, and gives that when the same input comes again.

    An entry holds the output and the changes of the context. It belongs to one tenant, and to the node as it is: its
    function or agent, its ``version``, its types.

    Args:
        key: Makes a text from the input (and the context, if it takes that) that is equal where the output is. None:
            the input and the named inputs are the key. A node that takes the context needs one.
        ttl: How long an entry is kept, in seconds; None: as long as there is room.

    Raises:
        DefinitionError: ``ttl`` is not above 0.
    """

    key: Callable[..., str] | None = None
    ttl: float | None = None

    def __post_init__(self) -> None:
        if self.ttl is not None and not isinstance(self.ttl, int | float):
            raise DefinitionError(f"'ttl' of a Cache is a number of seconds, not {type(self.ttl).__name__!r}")
        if self.ttl is not None and not self.ttl > 0:
            raise DefinitionError(f"'ttl' of a Cache is in seconds and above 0, not {self.ttl}")


class Policies(TypedDict, total=False):
    """The policies that a step is made with.

    Attributes:
        retry: When it is tried again.
        timeout: How long one attempt may take, in seconds; or a ``Timeout``.
        fallback: What runs, with the same input, when it has failed for good.
        validators: What an output must pass; each gives None, or what is wrong, which an agent sees in its next
            attempt. A name stands for a validator that a plugin has registered.
        cache: Whether its outputs are kept for equal inputs.
        version: Changed by the author when its meaning changes, so that what was cached is not used any more.
        was: The name that it had before, so that runs that were begun under that name go on.
        migrations: How runs go on that were begun under another ``version``: by that version (empty: none), a function
            that turns an output of it, as plain JSON data, into one of this version; or None: it is good as it is.
        backend: The name of what it runs on: ``"process"``, or one that a plugin has registered. ``"local"``, which is
            where it runs unless given, is this process.
        resources: What it needs of that.
        allow_reconfigure: What earlier steps may change of the agent that it asks.
        labels: What it does to the labels of data that goes through it.
    """

    retry: Retry | None
    timeout: float | Timeout | None
    fallback: Node[Any, Any] | None
    validators: Sequence[Validator | str]
    cache: Cache | None
    version: str | None
    was: str | None
    migrations: Migrations | None
    backend: str | None
    resources: ResourceHints | None
    allow_reconfigure: Reconfigurable | None
    labels: Labels | None


@frozen()
class StepPolicy:
    """What holds for each run of one node.

    Args:
        retry: When it is tried again; None: never.
        timeout: How long one attempt may take; a number is seconds in all. None: as long as it takes.
        fallback: What runs when it has failed for good, or None.
        validators: What an output must pass.
        cache: Whether outputs are kept for equal inputs, or None.
        version: The author's mark of its meaning, or None.
        was: The name that it had before, or None.
        migrations: By earlier versions, what turns an output of theirs into one of this version, or None.
        backend: The name of what it runs on, or None.
        resources: What it needs of that, or None.
        allow_reconfigure: What earlier steps may change of the agent that it asks; None: nothing.
        labels: What it does to the labels of data that goes through it, or None.

    Raises:
        DefinitionError: One of them is something else.
    """

    retry: Retry | None = None
    timeout: float | Timeout | None = None
    fallback: Node[Any, Any] | None = None
    validators: Sequence[Validator | str] = ()
    cache: Cache | None = None
    version: str | None = None
    was: str | None = None
    migrations: Migrations | None = None
    backend: str | None = None
    resources: ResourceHints | None = None
    allow_reconfigure: Reconfigurable | None = None
    labels: Labels | None = None

    def __post_init__(self) -> None:
        for name, value, kind, example in (
            ("retry", self.retry, Retry, "Retry(attempts=3)"),
            ("cache", self.cache, Cache, "Cache(ttl=3600)"),
            ("version", self.version, str, "2"),
            ("was", self.was, str, "old_name"),
            ("backend", self.backend, str, "process"),
            ("resources", self.resources, ResourceHints, "ResourceHints(cpu=2)"),
            ("allow_reconfigure", self.allow_reconfigure, Reconfigurable, "Reconfigurable(instructions=True)"),
            ("labels", self.labels, Labels, "Labels(clears=['phi'])"),
        ):
            if not isinstance(value, kind | None):
                raise DefinitionError(
                    f"'{name}' is a '{kind.__name__}', such as '{example}', not {type(value).__name__!r}"
                )
        _ = self.limits
        if isinstance(self.validators, str) or not isinstance(self.validators, Sequence):
            raise DefinitionError(f"'validators' is a list of functions, not {type(self.validators).__name__!r}")
        object.__setattr__(self, "validators", tuple(self.validators))
        for validator in self.validators:
            if not callable(validator) and not isinstance(validator, str):
                raise DefinitionError(
                    f"a validator is a function, or a registered name, not {type(validator).__name__!r}"
                )
        self._check_past()

    def _check_past(self) -> None:
        """Checks what says how the node goes on with runs of earlier code."""
        if self.was is not None and not self.was.strip():
            raise DefinitionError("'was' is the name that a node had before; it is empty")
        if self.migrations is None:
            return
        if not isinstance(self.migrations, Mapping):
            kind = type(self.migrations).__name__
            raise DefinitionError(f"'migrations' is a mapping by version, such as '{{\"1\": None}}', not {kind!r}")
        if self.version is None:
            raise DefinitionError("'migrations' go to a version, and there is none; give 'version=' with them")
        for version, migrate in self.migrations.items():
            if not isinstance(version, str):
                raise DefinitionError(f"'migrations' are by version, a text, and not {type(version).__name__!r}")
            if version == self.version:
                raise DefinitionError(f"'migrations' go from earlier versions to this one, and '{version}' is this one")
            if migrate is not None and not callable(migrate):
                raise DefinitionError(
                    f"the migration from version '{version}' is a function of an output, or None, not"
                    f" {type(migrate).__name__!r}"
                )

    @property
    def guards(self) -> bool:
        """Whether something in it holds around an attempt: what is done in one is then apart until it succeeds."""
        return any(one is not None for one in (self.retry, self.timeout, self.fallback, self.cache))

    @property
    def remote(self) -> str | None:
        """The name of the backend that it runs on, unless that is this process."""
        return None if self.backend in (LOCAL, f"flujo/{LOCAL}") else self.backend

    @property
    def labelling(self) -> Labels:
        """What it does to labels."""
        return self.labels or NO_LABELS

    @property
    def hints(self) -> ResourceHints:
        """What it needs of its backend."""
        return self.resources or NO_HINTS

    def changed(self, policies: Policies) -> StepPolicy:
        """These policies with some others; one that is given as None stays as it is."""
        given: dict[str, Any] = {name: value for name, value in policies.items() if value is not None}
        return replace(self, **self._with_labels(given))

    def _with_labels(self, given: dict[str, Any]) -> dict[str, Any]:
        """Policies that are given, with what was said of labels before: that a tool sends data stays said."""
        labels = given.get("labels")
        return {**given, "labels": labels.over(self.labelling)} if isinstance(labels, Labels) else given

    def over(self, others: StepPolicy) -> StepPolicy:
        """These policies with those of ``others`` that are set."""
        given = {one.name: getattr(others, one.name) for one in fields(others)}
        return replace(self, **self._with_labels({name: value for name, value in given.items() if value}))

    @property
    def limits(self) -> Timeout:
        """How long one attempt may take."""
        if self.timeout is None:
            return NO_TIMEOUT
        return self.timeout if isinstance(self.timeout, Timeout) else Timeout(self.timeout)


NO_TIMEOUT = Timeout()
NO_POLICY = StepPolicy()
"""One attempt, as long as it takes."""


def chance() -> float:
    """A random number from 0 to 1, of the operating system: the ``random`` module is dear to import."""
    return int.from_bytes(os.urandom(4)) / 0xFFFFFFFF
