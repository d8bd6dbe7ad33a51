"""Deidentifier: finds what identifies somebody, puts tokens in its place, and turns them back."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from flujo_core import subject_digest
from flujo_deidentifier.errors import DeidentificationError, ModelGuarded
from flujo_deidentifier.finder import Decision, Finder, Findings
from flujo_deidentifier.generalise import generalised
from flujo_deidentifier.madeup import MadeUp
from flujo_deidentifier.plainview import PlainView
from flujo_deidentifier.profile import Action, Profile
from flujo_deidentifier.replacement import replacement
from flujo_deidentifier.restore import Form, Found, Recall, Surrogates, filled, found_in, known_tokens, restored
from flujo_deidentifier.span import Detector, Span
from flujo_deidentifier.stream import TokenStream
from flujo_deidentifier.token import Token, token_text, tokens_in
from flujo_deidentifier.vault import KeySource, Scope, Vault
from flujo_deidentifier.vault_memory import MemoryVaultStore
from flujo_deidentifier.vault_row import VaultStore

LabelsAt: TypeAlias = Callable[[tuple[str, ...], bool], Iterable[str]]
"""The labels that a place in a value carries; or, if the second argument is true, the key that ends the path."""

_ROUNDS: Final = 6
"""How often a text is searched: a token may make something stand out that was not found before."""
_CLEAN: Final = 4096
_NUMBER: Final = "JSON"
"""The label of what is no text: a number in a labelled field."""
_LONG_NUMBER: Final = 7
_TAKEN: Final = "surrogate"
"""The rule of what is no surrogate and reads like one: it becomes a token, whatever the profile says."""
_REVERSIBLE: Final = (Action.SURROGATE, Action.SHIFT)


class _How(NamedTuple):
    """How a value is treated: as for ``deidentify``."""

    only_tokens: bool
    quoted: bool | None


class Deidentifier:
    """Finds what identifies somebody, puts something else in its place, and turns that back.

    It may be used from several threads at once.

    Args:
        profile: A profile, or the name of one.
        key: At least 32 bytes, or what gives them; None: the environment variable ``FLUJO_DEIDENTIFIER_KEY``, Base64.
            It is asked for when a token is made or turned back, so ``find`` needs none.
        vault: Where values are kept; None: in memory.
        detectors: As for ``Finder``.
        timeout: Seconds that each detector may take for one text.
        keep: Seconds for which values are kept after they were last met; None: until they are erased.

    Raises:
        ConfigurationError: There is no such profile or detector.
    """

    def __init__(
        self,
        profile: Profile | str = "hipaa-safe-harbor",
        *,
        key: KeySource = None,
        vault: VaultStore | None = None,
        detectors: Sequence[str | Detector] | None = None,
        timeout: float = 30.0,
        keep: float | None = None,
    ) -> None:
        self._finder = Finder(profile, detectors=detectors, timeout=timeout)
        self.profile = self._finder.profile
        self.vault = Vault(MemoryVaultStore() if vault is None else vault, key=key, keep=keep)
        self._made_up = MadeUp(self.vault)
        self._clean: OrderedDict[tuple[Scope, str], None] = OrderedDict()
        self._lock = Lock()
        unkept = {*self.profile.actions.values(), self.profile.default}
        self.has_surrogates = any(action in _REVERSIBLE for action in unkept)

    def __repr__(self) -> str:
        return f"<Deidentifier '{self.profile.name}'>"

    def find(self, text: str, /) -> Findings:
        """The spans of a text that identify somebody: as ``Finder.find``."""
        return self._finder.find(text)

    def explain(self, text: str, /) -> list[Decision]:
        """What was done with each span, and why: as ``Finder.explain``."""
        return self._finder.explain(text)

    def deidentify(
        self, text: str, /, *, session: str, tenant: str = "", subject: str = "", label: str | None = None,
        only_tokens: bool = False, quoted: bool | None = None,
    ) -> str:  # fmt: skip
        """A text with tokens, or what the profile says, in the places of what identifies somebody.

        Args:
            text: The text. Tokens of the same session stay as they are.
            session: The conversation, or run: the same value has the same token in it.
            tenant: Whose it is.
            subject: Whom it is about; what ``erase`` forgets.
            label: Where the whole text is known to be sensitive: becomes one token, whatever the detectors say.
            only_tokens: Whether all that the profile does not keep becomes a token, so that nothing is lost.
            quoted: Whether somebody wrote the text who knows surrogates and no values, as a model: a surrogate in it
                stays as it is. In any other text what reads like a surrogate is somebody's own value. None: it is
                quoted if this session has given just this text.

        Raises:
            DeidentificationError: It was not done, so nothing may go on with the text.
            DeidentifierKeyMissing: There is no key.
        """
        scope = Scope(session, tenant, subject)
        if label is not None:
            return self._whole(text, scope, label)
        if only_tokens:
            return self._treated(text, scope, only_tokens=True)
        if self._was_given(text, scope, quoted):
            return text
        text = self._treated(text, scope, quoted=bool(quoted))
        if self.has_surrogates:
            self._made_up.note_given(text, scope)
        self._mark_clean(text, scope)
        return text

    def restore(self, text: str, /, *, session: str, tenant: str = "", form: Form = "text") -> str:
        """A text with the values in the places of their tokens, and of surrogates where the profile makes such.

        Tokens that were forged, of another session or tenant, erased or forgotten stay as they are.

        Args:
            text: The text, as a model gave it.
            session: The session that the tokens are of.
            tenant: Whose it is.
            form: ``json``: values are escaped, as they stand within quotes.

        Raises:
            VaultCorrupted: What the vault has cannot be read.
            DeidentifierKeyMissing: There is no key.
        """
        scope = Scope(session, tenant)
        return restored(text, self._recall(scope), form, self._surrogates(scope))

    def restore_stream(
        self, pieces: Iterable[str], /, *, session: str, tenant: str = "", form: Form = "text"
    ) -> Iterator[str]:
        """The twin of ``restore`` for a text in pieces; see ``restoring``."""
        stream = self.restoring(session=session, tenant=tenant, form=form)
        for piece in pieces:
            if ready := stream.feed(piece):
                yield ready
        if rest := stream.flush():
            yield rest

    async def restore_stream_async(
        self, pieces: AsyncIterable[str], /, *, session: str, tenant: str = "", form: Form = "text"
    ) -> AsyncIterator[str]:
        """The async twin of ``restore_stream``."""
        stream = self.restoring(session=session, tenant=tenant, form=form)
        async for piece in pieces:
            if ready := await asyncio.to_thread(stream.feed, piece):
                yield ready
        if rest := await asyncio.to_thread(stream.flush):
            yield rest

    def restoring(self, *, session: str, tenant: str = "", form: Form = "text") -> TokenStream:
        """What restores a text piece by piece, as ``restore`` does the whole."""
        scope = Scope(session, tenant)
        return TokenStream(self._recall(scope), form, lambda: self._surrogates(scope))

    async def deidentify_async(
        self, text: str, /, *, session: str, tenant: str = "", subject: str = "", label: str | None = None,
        quoted: bool | None = None,
    ) -> str:  # fmt: skip
        """The async twin of ``deidentify``: the event loop goes on meanwhile."""
        return await asyncio.to_thread(
            self.deidentify, text, session=session, tenant=tenant, subject=subject, label=label, quoted=quoted
        )

    async def restore_async(self, text: str, /, *, session: str, tenant: str = "", form: Form = "text") -> str:
        """The async twin of ``restore``."""
        return await asyncio.to_thread(self.restore, text, session=session, tenant=tenant, form=form)

    def deidentify_value(
        self, value: Any, /, scope: Scope, labels: LabelsAt | None = None, *, only_tokens: bool = False,
        quoted: bool | None = None,
    ) -> Any:  # fmt: skip
        """A value of JSON, with its texts, keys, labelled fields and long numbers treated.

        Args:
            value: The value.
            scope: Whose it is.
            labels: The labels that its places carry; what has one becomes a token, whatever the detectors say.
            only_tokens: As for ``deidentify``.
            quoted: As for ``deidentify``.

        Raises: as ``deidentify``.
        """
        return self._value(value, scope, labels or _unlabelled, (), _How(only_tokens, quoted))

    def restore_value(self, value: Any, /, scope: Scope) -> Any:
        """The value that ``deidentify_value`` was given.

        Raises: as ``restore``.
        """
        if isinstance(value, str):
            return self._restored_leaf(value, scope)
        if isinstance(value, Mapping):
            return {self._plain(key, scope): self.restore_value(one, scope) for key, one in value.items()}
        return [self.restore_value(one, scope) for one in value] if isinstance(value, list) else value

    def is_clean(self, text: str, scope: Scope) -> bool:
        """Whether a text was searched before, and nothing was found beside tokens."""
        with self._lock:
            return (scope, text) in self._clean

    def check(self, text: str, scope: Scope, what: str) -> None:
        """Refuses a text in which something can be found beside tokens.

        Args:
            text: The text.
            scope: Whose it is.
            what: What the text is, for the message.

        Raises:
            ModelGuarded: Something can be found.
        """
        if self.is_clean(text, scope):
            return
        if spans := self._open_spans(text, scope, only_tokens=False, quoted=True):
            label = spans[0].label
            raise ModelGuarded(
                f"{what} has a {label} that would go to the model; de-identify it, or name it in 'allow' of the profile"
            )
        self._mark_clean(text, scope)

    def erase(self, subject: str, *, tenant: str = "") -> int:
        """Forgets for good all values about a subject, whose tokens say nothing from then on; gives how many."""
        of_runs = f"subject/{subject_digest(subject)}"  # what runs about them have, as a run is told a digest only
        return self.vault.erase(subject, tenant=tenant) + self.vault.erase(of_runs, tenant=tenant)

    def _was_given(self, text: str, scope: Scope, quoted: bool | None) -> bool:
        """Whether a text is one that this has given, or would give as it is."""
        if not self.has_surrogates:
            return self.is_clean(text, scope)
        return quoted is None and self._made_up.has_given(text, scope)

    def _mark_clean(self, text: str, scope: Scope) -> None:
        """Only what has been de-identified is kept here."""
        with self._lock:
            self._clean[scope, text] = None
            if len(self._clean) > _CLEAN:
                self._clean.popitem(last=False)

    def _treated(self, text: str, scope: Scope, *, only_tokens: bool = False, quoted: bool = False) -> str:
        for turn in range(_ROUNDS):
            if turn:
                quoted = True  # what reads like a surrogate is one by now
            spans = self._open_spans(text, scope, only_tokens=only_tokens, quoted=quoted)
            if not spans:
                return text
            text = self._replaced(text, spans, scope, only_tokens=only_tokens, quoted=quoted)
        raise DeidentificationError(
            f"after {_ROUNDS} rounds a detector still finds something beside tokens, and the text goes nowhere;"
            " name the detector's words in 'allow' of the profile"
        )

    def _open_spans(self, text: str, scope: Scope, *, only_tokens: bool, quoted: bool) -> list[Span]:
        """What is found beside tokens, surrogates and what is as coarse as it shall be."""
        surrogates = None if only_tokens else self._surrogates(scope)
        done = [one[:2] for one in found_in(text, self._recall(scope), surrogates if quoted else None)]
        spans = self._finder.find(_starred(text, done))
        left = [piece for span in spans for piece in _beside(span, done, text)]
        if only_tokens:
            return left
        left = [one for one in left if not self._is_coarse(one, text)]
        if surrogates is None or quoted:
            return left
        alike = [one for one in surrogates.find(PlainView(text), done) if not _touches(one, left)]
        return sorted([*left, *map(_taken, alike)])

    def _known(self, text: str, scope: Scope) -> list[tuple[Token, str]]:
        return known_tokens(text, self._recall(scope))

    def _recall(self, scope: Scope) -> Recall:
        return lambda asked: self.vault.recall(scope, asked)

    def _surrogates(self, scope: Scope) -> Surrogates | None:
        return self._made_up.surrogates(scope) if self.has_surrogates else None

    def _is_coarse(self, span: Span, text: str) -> bool:
        if self.profile.action(span.label) is not Action.GENERALISE:
            return False
        value = text[span.start : span.end]
        coarse = generalised(span.label, value)
        return coarse == value or (span.label == "AGE" and coarse is not None and text.startswith(coarse, span.start))

    def _replaced(self, text: str, spans: Sequence[Span], scope: Scope, *, only_tokens: bool, quoted: bool) -> str:
        made = [None if only_tokens or one.rule == _TAKEN else self._replacement(one, text, scope) for one in spans]
        masked = self._filled(text, spans, made, scope)
        if only_tokens or not self.has_surrogates:
            return masked
        before = self._surrogates(scope) if quoted else None
        lasting = [self._lasting(one, text, scope) for one in spans]
        kept = [Found(*one[:2], other) for one, other in zip(spans, lasting, strict=True) if other is not None]
        wanted = restored(filled(text, kept), self._recall(scope), surrogates=before)
        # A surrogate next to a letter, or to a word that makes another one of it, would not come back.
        if self._comes_back(masked, scope, wanted):
            return masked
        masked = self._filled(text, spans, lasting, scope)
        if quoted or self._comes_back(masked, scope, wanted):
            return masked
        # Only with what stood next to it gone does something read like a surrogate.
        alike = [one for one in Surrogates(self._made_up.of(scope), within=True).find(PlainView(text))]
        spans = sorted([*spans, *(_taken(one) for one in alike if not _touches(one, spans))])
        return self._filled(text, spans, [self._lasting(one, text, scope) for one in spans], scope)

    def _comes_back(self, masked: str, scope: Scope, wanted: str) -> bool:
        return restored(masked, self._recall(scope), surrogates=self._surrogates(scope)) == wanted

    def _lasting(self, span: Span, text: str, scope: Scope) -> str | None:
        return None if self._is_reversible(span) else self._replacement(span, text, scope)

    def _filled(self, text: str, spans: Sequence[Span], made: Sequence[str | None], scope: Scope) -> str:
        """The text with what was made in the places of spans, and tokens where nothing was."""
        pairs = list(zip(spans, made, strict=True))
        tokens = iter(
            self.vault.remember(scope, [(one.label, text[one.start : one.end]) for one, new in pairs if new is None])
        )
        return filled(text, [Found(*one[:2], next(tokens) if new is None else new) for one, new in pairs])

    def _is_reversible(self, span: Span) -> bool:
        return span.rule == _TAKEN or self.profile.action(span.label) in _REVERSIBLE

    def _replacement(self, span: Span, text: str, scope: Scope) -> str | None:
        """What takes the place of a span; None: a token."""
        action = self.profile.action(span.label)
        if action in _REVERSIBLE:
            return self._made_up.replace(span, text, action, scope)
        return replacement(span, text, action, self.vault.key("surrogates"), scope.subject)

    def _whole(self, text: str, scope: Scope, label: str) -> str:
        known = self._known(text, scope)
        if not text.strip() or (known and (known[0][0].start, known[0][0].end) == (0, len(text))):
            return text
        (token,) = self.vault.remember(scope, [(label, text)])
        self._mark_clean(token, scope)
        return token

    def _value(self, value: Any, scope: Scope, labels: LabelsAt, path: tuple[str, ...], how: _How) -> Any:
        if isinstance(value, Mapping):
            found = {}
            for key, one in value.items():
                below = (*path, str(key))
                shown = self._text(str(key), scope, labels(below, True), how)
                found[shown] = self._value(one, scope, labels, below, how)
            return found
        if isinstance(value, list):
            return [self._value(one, scope, labels, (*path, str(at)), how) for at, one in enumerate(value)]
        marks = [*labels(path, False)]
        if isinstance(value, str):
            return self._text(value, scope, marks, how)
        hidden = value is not None and (marks or (not isinstance(value, bool) and self._tells(value)))
        return self._as_json(value, scope) if hidden else value

    def _text(self, text: str, scope: Scope, labels: Iterable[str], how: _How) -> str:
        label = next(iter(labels), None)
        if label is not None and text:
            return (
                self.vault.remember(scope, [(label, text)])[0] if how.only_tokens else self._whole(text, scope, label)
            )
        return self.deidentify(
            self._covered(text, scope) if how.only_tokens else text, **scope._asdict(), **how._asdict()
        )

    def _covered(self, text: str, scope: Scope) -> str:
        """The text with tokens of its own in the places of tokens: reading it gives those back, and not values."""
        found = list(tokens_in(text))
        covers = self.vault.remember(scope, [("TOKEN", text[one.start : one.end]) for one in found])
        return filled(text, [Found(*one[:2], cover) for one, cover in zip(found, covers, strict=True)])

    def _as_json(self, value: Any, scope: Scope) -> str:
        return self.vault.remember(scope, [(_NUMBER, json.dumps(value))])[0]

    def _tells(self, value: Any) -> bool:
        text = str(value)
        return len(text) >= _LONG_NUMBER and bool(self._finder.find(text))

    def _restored_leaf(self, text: str, scope: Scope) -> Any:
        known = self._known(text, scope)
        if len(known) == 1 and text == token_text(known[0][0].kind, known[0][0].id) and known[0][0].kind == _NUMBER:
            return json.loads(known[0][1])
        return self._plain(text, scope)

    def _plain(self, text: str, scope: Scope) -> str:
        return restored(text, self._recall(scope), exact=True)


def _starred(text: str, tokens: Iterable[tuple[int, int]]) -> str:
    """The text as detectors see it: with stars in the places of tokens, which are no words of it."""
    for start, end in tokens:
        text = f"{text[:start]}{'*' * (end - start)}{text[end:]}"
    return text


def _taken(one: Found) -> Span:
    return Span(one.start, one.end, "VALUE", 1.0, "surrogates", _TAKEN)


def _touches(one: Found, spans: Iterable[Span]) -> bool:
    return any(one.start < span.end and span.start < one.end for span in spans)


def _unlabelled(path: tuple[str, ...], is_key: bool) -> Iterable[str]:
    return ()


def _beside(span: Span, tokens: Iterable[tuple[int, int]], text: str) -> Iterator[Span]:
    """What of a span is in no token."""
    at = span.start
    for start, end in tokens:
        if start < span.end and end > at:
            if any(one.isalnum() for one in text[at:start]):
                yield span._replace(start=at, end=start)
            at = max(at, end)
    if at < span.end and (at == span.start or any(one.isalnum() for one in text[at : span.end])):
        yield span._replace(start=at)
