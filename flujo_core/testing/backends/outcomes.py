"""What is checked of a backend's outcomes."""

from __future__ import annotations

import asyncio

from pydantic_core import from_json

from flujo_core.backend.protocol import RemoteOutput, RemotePause, RemoteStop
from flujo_core.model.hints import ResourceHints
from flujo_core.testing.backends import steps
from flujo_core.testing.backends.trial import HERE, Trying, call_of
from flujo_core.testing.stores.place import claim


async def declares(trying: Trying) -> None:
    """It says which hints it honours, and each is one."""
    unknown = sorted(trying.backend.honours - {*ResourceHints.__dataclass_fields__} - {"required"})
    claim(not unknown, f"it honours {unknown}, which are no hints")


async def gives_outputs(trying: Trying) -> None:
    """Functions are called, sync or async, with an input or without."""
    claim(await trying.output(steps.double, 21) == 42, "a sync function does not give its output")
    claim(await trying.output(steps.double_async, 21) == 42, "an async function does not give its output")
    claim(await trying.output(steps.nothing, None) == "nothing", "a function without an input does not give its output")


async def tells_where_it_runs(trying: Trying) -> None:
    """A step gets the ``RunInfo`` of the call."""
    found = await trying.output(steps.about, "")
    told = ["run of a trial", "scope/about", "key of a trial", "3"]
    claim(found == told, "a step does not get the 'RunInfo' of its call")


async def gives_patches(trying: Trying) -> None:
    """A step sees the context of the call, and what it changes comes back."""
    call = call_of(steps.note, "b", context=b'{"lines":["a"],"title":""}', context_type=f"{HERE}:Trial")
    outcome = await trying.outcome(call)
    claim(isinstance(outcome, RemoteOutput), "a step that takes the context does not succeed")
    assert isinstance(outcome, RemoteOutput)
    claim(outcome.output == b"2", "a step does not see the context of its call")
    changed = {"lines": {"extend": ["b"]}, "title": {"set": "b"}}
    claim(from_json(outcome.patch) == changed, "what a step changes in its context does not come back")


async def validates(trying: Trying) -> None:
    """An output that does not fit its type is a failure, which does not show it."""
    await trying.failure(steps.lie, 1, "flujo_core.errors:InvalidValue")


async def fails_by_class(trying: Trying) -> None:
    """An exception comes back as its classes, and without its text."""
    failure = await trying.failure(steps.fail, 1, f"{HERE}:Unwell")
    claim(failure.lineage[0] == f"{HERE}:Unwell", "the 'lineage' of a failure does not begin with its own class")
    claim(failure.lineage[-1] == "builtins:Exception", "the 'lineage' of a failure does not end with 'Exception'")
    claim(failure.message == "", "the text of an error that is not one of Flujo's is in its failure")


async def misses(trying: Trying) -> None:
    """A step that is not found where it is to run is a failure that no retry repeats."""
    for place in (f"{HERE}:not_there", "flujo_core.no_such_module:double"):
        [item] = [item async for item in trying.backend.execute(call_of(steps.double, 1)._replace(step=place))]
        known = getattr(item, "lineage", ())
        claim("flujo_core.errors:ConfigurationError" in known, "a step that is not there is no 'ConfigurationError'")


async def stops_and_asks(trying: Trying) -> None:
    """A stop and a question come back with all their terms."""
    stop = await trying.outcome(call_of(steps.stop, "enough"))
    claim(stop == RemoteStop("enough"), "a step that stops the run does not")
    pause = await trying.outcome(call_of(steps.ask, "sure?"))
    wanted = RemotePause("sure?", "bool", 3600.0, approvers=("ann", "bob"), quorum=2)
    claim(pause == wanted, "a step that asks a person does not, or not on its terms")


async def keeps_apart(trying: Trying) -> None:
    """Calls that go on at once have their own outcomes."""
    found = await asyncio.gather(*(trying.output(steps.double, number) for number in range(20)))
    claim(found == [2 * number for number in range(20)], "calls at once do not have their own outcomes")


async def works_after_closing(trying: Trying) -> None:
    """A backend that was closed can be used again, and closed again."""
    await trying.output(steps.double, 1)
    await trying.backend.aclose()
    claim(await trying.output(steps.double, 2) == 4, "a backend that was closed cannot be used again")
    await trying.backend.aclose()
    await trying.backend.aclose()
