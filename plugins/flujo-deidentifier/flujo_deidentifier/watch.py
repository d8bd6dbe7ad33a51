"""Watch: calls detectors so that what goes wrong with one is an error, and never an empty answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, TimeoutError
from threading import Thread
from typing import Final

from flujo_deidentifier.errors import DeidentificationError, DetectorFailed, DetectorTimeout
from flujo_deidentifier.span import Detector, LateDetector, Span

OWN: Final = frozenset({"patterns", "lists", "terms", "structure"})
"""Our detectors that take time in proportion to the text; no thread is needed to hold them to a time."""

Call = Callable[[str, Sequence[Span]], Iterable[Span]]


class Watch:
    """Calls detectors, each within its time.

    Args:
        detectors: The detectors, called in this order.
        timeout: Seconds that each may take for one text.
    """

    def __init__(self, detectors: Sequence[Detector], timeout: float) -> None:
        self._timeout = timeout
        ordered = sorted(detectors, key=_late)
        self._detectors = [(one, _call_of(one), _ours(one)) for one in ordered]

    def spans(self, text: str) -> list[Span]:
        """What all of them find.

        Raises:
            DetectorFailed: One raised, or gave a span that cannot be.
            DetectorTimeout: One did not answer in time.
        """
        found: list[Span] = []
        for detector, call, ours in self._detectors:
            found += (
                _found(detector.name, call, text, found) if ours else self._in_time(detector.name, call, text, found)
            )
        return found

    def _in_time(self, name: str, call: Call, text: str, before: list[Span]) -> list[Span]:
        """The spans of a detector that may hang; its thread is left behind if it does."""
        answer: Future[list[Span]] = Future()
        Thread(target=_answer, args=(answer, name, call, text, before), daemon=True, name=f"detector {name}").start()
        try:
            return answer.result(self._timeout)
        except TimeoutError:
            pass
        raise DetectorTimeout(
            f"detector '{name}' did not answer within {self._timeout:g} s, and the text goes nowhere; give it more time"
        )


def _late(detector: Detector) -> bool:
    return isinstance(detector, LateDetector)


def _call_of(detector: Detector) -> Call:
    if isinstance(detector, LateDetector):
        return detector.detect_rest
    return lambda text, _: detector.detect(text)


def _ours(detector: Detector) -> bool:
    return type(detector).__module__.partition(".")[0] == "flujo_deidentifier" and detector.name in OWN


def _answer(answer: Future[list[Span]], name: str, call: Call, text: str, before: list[Span]) -> None:
    try:
        answer.set_result(_found(name, call, text, before))
    except DeidentificationError as error:
        answer.set_exception(error)


def _found(name: str, call: Call, text: str, before: list[Span]) -> list[Span]:
    try:
        spans = list(call(text, before))
    except Exception as error:
        kind = type(error).__name__
    else:
        length = len(text)
        for start, end, *_ in spans:
            if not 0 <= start < end <= length:
                raise DetectorFailed(
                    f"detector '{name}' gave a span from {start} to {end} in a text of {length}; the text goes nowhere"
                )
        return spans
    # Outside the handler, so that the error of the detector, which may quote the text, is no context of this one.
    raise DetectorFailed(f"detector '{name}' raised {kind}; the text goes nowhere until it is mended")
