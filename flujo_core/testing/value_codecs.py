"""The suite that every value codec must pass: ``await assert_value_codec_conforms(make_codec, secrets=[...])``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, get_args

from pydantic_core import from_json, to_json

from flujo_core.errors import CodecError
from flujo_core.model.label import LabelledPath
from flujo_core.store.byte_codec import HidingCodec
from flujo_core.store.value_codec import ValueAbout, ValueCodec, ValueKind

__all__ = ["VALUE_CODEC_CHECKS", "MakeValueCodec", "assert_value_codec_conforms"]

MakeValueCodec: TypeAlias = Callable[[], ValueCodec]
"""Makes a codec: at each call a handle of its own, as another process has it, with the same keys and mapping."""

PLAIN: Sequence[Any] = (
    "text", " spaces \n\t", "\"quoted\" \\ <vault:0> {{ }} \u00e4\u6f22\U0001f600\u0000", "7", "", None, True, False,
    0, -1, 2**70, 1.5, -0.0, 1e300, [], {}, [None, [[]], {"": ""}], {"b": 1, "a": {"c": [1, "1", 1.0]}, "": None},
)  # fmt: skip
"""Values that any codec must give back."""

MANY = 40
"""How many calls go on at once."""


class Trial(NamedTuple):
    """What a codec is tried with.

    Attributes:
        one: It.
        other: It, as another process has it.
        secrets: Texts that it must hide.
        label: The label of the places where they stand.
    """

    one: ValueCodec
    other: ValueCodec
    secrets: Sequence[str]
    label: str

    @property
    def values(self) -> Iterator[Any]:
        """Values, with and without what must be hidden."""
        yield from PLAIN
        for secret in self.secrets:
            yield from (
                secret,
                f"of {secret}, and {secret}.",
                [secret, [secret]],
                {"a": {"b": secret}},
                {secret: secret},
            )
        yield {secret: [secret] for secret in self.secrets}

    def about(self, kind: ValueKind = "output", run_id: str = "conformance") -> ValueAbout:
        """What a value is of, all of which carries the label."""
        return ValueAbout(run_id, "tenant", "", "step", kind, (LabelledPath((), (self.label,)),), Any)


def _fresh(value: Any) -> Any:
    """A value as a codec is given it: nobody else's."""
    return from_json(to_json(value))


async def _kept(codec: ValueCodec, value: Any, about: ValueAbout) -> Any:
    """What a codec makes of a value, as it comes back from a store."""
    return _fresh(await codec.encode_value(_fresh(value), about))


async def _read(codec: ValueCodec, kept: Any, about: ValueAbout) -> bytes:
    """What a codec gives back, as it is compared."""
    return to_json(await codec.decode_value(_fresh(kept), about._replace(hint=None)))


def _claim(holds: object, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


async def _gives_back(trial: Trial) -> None:
    for kind in get_args(ValueKind):
        for value in trial.values:
            about = trial.about(kind)
            kept = await _kept(trial.one, value, about)
            same = await _read(trial.one, kept, about) == to_json(value)
            _claim(same, f"a value of kind '{kind}' does not come back as it was, or in another order")


async def _gives_back_elsewhere(trial: Trial) -> None:
    for value in trial.values:
        kept = await _kept(trial.one, value, trial.about())
        same = await _read(trial.other, kept, trial.about()) == to_json(value)
        _claim(same, "what one handle has written, another one does not read")


async def _gives_back_twice(trial: Trial) -> None:
    """A second codec of its kind, or a fork, may give it what it has made itself."""
    for value in trial.values:
        once = await _kept(trial.one, value, trial.about())
        twice = await _kept(trial.one, once, trial.about())
        same = await _read(trial.one, twice, trial.about()) == to_json(once)
        _claim(same, "what it has made itself does not come back when it is given that")


async def _keeps_apart(trial: Trial) -> None:
    async def one(number: int) -> bool:
        about = trial.about(run_id=f"run-{number % 7}")
        value = [number, *trial.secrets]
        kept = await _kept((trial.one, trial.other)[number % 2], value, about)
        return await _read(trial.one, kept, about) == to_json(value)

    found = await asyncio.gather(*(one(number) for number in range(MANY)))
    _claim(all(found), "values that are written at once disturb each other")


async def _hides(trial: Trial) -> None:
    for value in trial.values:
        kept = to_json(await _kept(trial.one, value, trial.about())).decode()
        _claim(not any(one in kept for one in trial.secrets), "what is kept holds a text that was to be hidden")


async def _hides_names(trial: Trial) -> None:
    one, other = trial.one, trial.other
    if not isinstance(one, HidingCodec):
        return
    assert isinstance(other, HidingCodec)
    key_id = one.key_id()
    digests = {one.mac(key_id, data) for data in (b"", b"a", b"b", b"a\0b")}
    _claim(len(digests) == 4 and min(map(len, digests)) >= 16, "its digests of names are too short, or clash")
    _claim(one.mac(key_id, b"a") == other.mac(key_id, b"a"), "another handle has another digest of a name")


async def _is_silent(trial: Trial) -> None:
    kept = [await _kept(trial.one, secret, trial.about()) for secret in trial.secrets]
    strange = trial.about(run_id="strange")._replace(labels=())
    for value in [*PLAIN, *kept]:
        try:
            await trial.other.decode_value(_fresh(value), strange)
        except CodecError as error:
            _claim(not any(one in str(error) for one in trial.secrets), "a message holds a text that was to be hidden")
        except Exception as error:
            raise AssertionError(f"what it has not made raises {type(error).__name__}, and no 'CodecError'") from error
    told = repr(trial.one) + repr(trial.other)
    _claim(not any(one in told for one in trial.secrets), "its 'repr' holds a text that was to be hidden")


async def _outlasts_cancellation(trial: Trial) -> None:
    for value in trial.values:
        work = asyncio.ensure_future(trial.one.encode_value(_fresh(value), trial.about()))
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.wait([work])
        kept = await _kept(trial.one, value, trial.about())
        same = await _read(trial.one, kept, trial.about()) == to_json(value)
        _claim(same, "a value does not come back after a call that was cancelled")


_CHECKS: Mapping[str, Callable[[Trial], Awaitable[None]]] = MappingProxyType(
    {
        "round_trip": _gives_back,
        "other_process": _gives_back_elsewhere,
        "own_output": _gives_back_twice,
        "at_once": _keeps_apart,
        "secrets": _hides,
        "names": _hides_names,
        "silent": _is_silent,
        "cancelled": _outlasts_cancellation,
    }
)

VALUE_CODEC_CHECKS = tuple(_CHECKS)
"""The names of the checks, to make a test of each: ``assert_value_codec_conforms(make_codec, only=[check])``."""


async def assert_value_codec_conforms(
    make_codec: MakeValueCodec,
    /,
    *,
    secrets: Sequence[str] = (),
    label: str = "phi",
    only: Sequence[str] = VALUE_CODEC_CHECKS,
    patience: float = 60.0,
) -> None:
    """Checks that a value codec keeps the contract of ``flujo_core.ValueCodec``.

    Args:
        make_codec: Makes it, at each call with a handle of its own.
        secrets: Texts that it must hide, alone, in other texts and as keys; without any, it need not hide anything.
        label: The label that the places carry where they stand.
        only: The names of the checks, of ``VALUE_CODEC_CHECKS``.
        patience: Seconds after which a check hangs.

    Raises:
        AssertionError: It does not; the message lists everything that was found.
    """
    found = [
        f"- {name}: {wrong}"
        for name in only
        if (wrong := await _tried(name, Trial(make_codec(), make_codec(), secrets, label), patience))
    ]
    if found:
        raise AssertionError("\n".join(["the value codec does not conform:", *found]))


async def _tried(name: str, trial: Trial, patience: float) -> str:
    """What is wrong, or nothing."""
    try:
        async with asyncio.timeout(patience):
            await _CHECKS[name](trial)
    except AssertionError as error:
        return str(error)
    except TimeoutError:
        return f"it was not done after {patience:.0f} s"
    except Exception as error:  # whatever a codec raises, it is a finding
        return f"it raised {type(error).__name__} where nothing was wrong"
    return ""
