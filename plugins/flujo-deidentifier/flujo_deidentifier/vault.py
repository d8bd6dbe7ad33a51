"""Vault: remembers which value a token stands for, encrypted."""

from __future__ import annotations

import hmac
import json
import os
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeAlias, TypeVar

from flujo_deidentifier.errors import DeidentifierKeyMissing, VaultCorrupted, VaultFailed
from flujo_deidentifier.placeholder import Kept
from flujo_deidentifier.token import kind_of, token_id, token_text
from flujo_deidentifier.vault_row import Row, VaultStore, is_sound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_VARIABLE: Final = "FLUJO_DEIDENTIFIER_KEY"
"""The environment variable that has the key, in Base64, where none is given."""

LEAST_KEY: Final = 32
"""The fewest bytes of a key."""

T = TypeVar("T")

KeySource: TypeAlias = bytes | Callable[[], bytes] | None


class Scope(NamedTuple):
    """Whose tokens: those of one scope say nothing in another one.

    Attributes:
        session: The conversation, or the run.
        tenant: Whose it is, or "".
        subject: Whom the data is about; what is erased together. It does not part tokens.
    """

    session: str
    tenant: str = ""
    subject: str = ""

    def __repr__(self) -> str:
        return "<Scope>"  # a session or subject may be a name


def scope_of(session: str, tenant: str | None, subject: str, otherwise: str = "") -> Scope:
    """The scope of what a run has.

    Args:
        session: In what the same value has the same token.
        tenant: Whose run it is, or None.
        subject: A digest of whom it is about; empty if nobody said.
        otherwise: What it is erased as then.
    """
    return Scope(session, tenant or "", f"subject/{subject}" if subject else otherwise)


def scope_of_run(run_id: str, tenant: str | None, subject: str) -> Scope:
    """The scope whose session is a run."""
    return scope_of(run_id, tenant, subject, f"run/{run_id}")


class Vault:
    """Gives tokens for values, and values for tokens. It may be used from several threads at once.

    Each subject has a random key, kept sealed with the deployment's: with that gone, nothing of the subject can be
    read any more, wherever copies of the rows may be.

    Args:
        store: Where rows are kept.
        key: At least 32 bytes, or what gives them; None: the environment variable ``FLUJO_DEIDENTIFIER_KEY``, Base64.
        keep: Seconds for which values are kept after they were last met; None: until they are erased.
        clock: Gives the time, in seconds since 1970.
    """

    def __init__(
        self,
        store: VaultStore,
        *,
        key: KeySource = None,
        keep: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._source = key
        self._key: bytes | None = None
        self._keep = keep
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Vault of a {type(self._store).__name__!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault has the deployment's key, and is not pickled; make one where it is needed")

    def key(self, purpose: str) -> bytes:
        """A key of 64 bytes for one purpose, drawn from the deployment's.

        Raises:
            DeidentifierKeyMissing: There is no key, or it is too short.
        """
        if self._key is None:
            self._key = _given(self._source)
        return _derived(self._key, purpose)

    def remember(self, scope: Scope, values: Sequence[tuple[str, str]]) -> list[str]:
        """Tokens for values, which are kept by then; the same for the same value in one scope.

        Args:
            scope: Whose they are.
            values: The label and the text of each.

        Raises:
            DeidentifierKeyMissing: There is no key.
            VaultCorrupted: What the vault has cannot be read.
            VaultFailed: The store raised.
        """
        named = [(kind_of(label), value) for label, value in values]
        return [token_text(kind, made) for (kind, _), made in zip(named, self._put(scope, named), strict=True)]

    def recall(self, scope: Scope, ids: Collection[str]) -> dict[str, Kept]:
        """What tokens stand for; those that are unknown in the scope, forged, expired or erased are left out.

        Args:
            scope: Whose they are; its subject does not matter.
            ids: Their keyed parts, which alone tell a token; the kind that is written before is not looked at.

        Raises: as ``remember``.
        """
        if not ids:
            return {}
        own = self._own(scope)
        rows = _asked(lambda: self._store.get(own.tenant, own.session, sorted(ids)))
        kept = ((row, value) for row, value in self._opened(scope, own, rows.values()) if row.kind.isupper())
        return {row.id: Kept(row.kind, value) for row, value in kept}

    def note(self, scope: Scope, topic: str, texts: Sequence[str]) -> None:
        """Keeps texts that no token stands for.

        Args:
            scope: Whose they are.
            topic: What they are for, in lower case.
            texts: The texts.

        Raises: as ``remember``.
        """
        self._put(scope, [(topic, text) for text in texts])

    def of_kind(self, scope: Scope, kind: str) -> list[str]:
        """The values of all tokens of one kind in a scope, or the texts of one topic.

        Raises: as ``remember``.
        """
        own = self._own(scope)
        rows = _asked(lambda: self._store.of_kind(own.tenant, own.session, kind))
        return [value for _, value in self._opened(scope, own, rows)]

    def has(self, scope: Scope, kind: str, value: str) -> bool:
        """Whether a value is kept in a scope, as of a kind or topic.

        Raises: as ``remember``.
        """
        own, made = self._own(scope), self._id(scope, kind, value)
        rows = _asked(lambda: self._store.get(own.tenant, own.session, [made]))
        return any(True for _ in self._opened(scope, own, rows.values()))

    def erase(self, subject: str, *, tenant: str = "") -> int:
        """Forgets for good all values about a subject; gives how many there were.

        Args:
            subject: Whom the data is about.
            tenant: Whose data it is.
        """
        own = self._own(Scope("", tenant, subject))
        return _asked(lambda: self._store.erase(own.tenant, own.subject))

    def expire(self) -> int:
        """Deletes values whose time is over; gives how many there were. Until then nobody is given them either."""
        return _asked(lambda: self._store.expire(self._clock()))

    def _own(self, scope: Scope) -> Scope:
        """The scope as the store sees it: a session or subject may be a name."""
        key = self.key("names")
        return Scope(
            hmac.new(key, f"session\0{scope.session}".encode(), sha256).hexdigest()[:32],
            scope.tenant,
            hmac.new(key, f"subject\0{scope.subject}".encode(), sha256).hexdigest()[:32],
        )

    def _id(self, scope: Scope, kind: str, value: str) -> str:
        return token_id(self.key("tokens"), scope.tenant, scope.session, kind, value)

    def _cipher(self, own: Scope) -> AESSIV:
        if (cipher := self._kept_cipher(own)) is not None:
            return cipher
        fresh = self._sealing().encrypt(os.urandom(64), _about(own, "key", ""))
        sealed = _asked(lambda: self._store.add_key(own.tenant, own.subject, fresh))
        return _siv(_decrypted(self._sealing(), sealed, _about(own, "key", "")))

    def _sealing(self) -> AESSIV:
        return _siv(self.key("keys"))

    def _put(self, scope: Scope, values: Sequence[tuple[str, str]]) -> list[str]:
        """Keeps values, by kind; gives the id of each."""
        if not values:
            return []
        own, rows = self._own(scope), []
        cipher, until = self._cipher(own), None if self._keep is None else self._clock() + self._keep
        for kind, value in values:
            made = self._id(scope, kind, value)
            sealed = cipher.encrypt(value.encode("utf-8", "surrogatepass"), _about(own, kind, made))
            rows.append(Row(own.tenant, own.session, made, kind, own.subject, sealed, until))
        _asked(lambda: self._store.put(list(dict.fromkeys(rows))))
        return [row.id for row in rows]

    def _opened(self, scope: Scope, own: Scope, rows: Iterable[Row]) -> Iterator[tuple[Row, str]]:
        """Rows with their values, but for those that were erased or whose time is over."""
        now = self._clock()
        ciphers: dict[str, AESSIV | None] = {}
        for row in rows:
            if not is_sound(row):
                raise VaultCorrupted("the vault has a row that is none; restore it from a copy")
            if row.expires is not None and row.expires <= now:
                continue
            holder = own._replace(subject=row.subject)
            if row.subject not in ciphers:
                ciphers[row.subject] = self._kept_cipher(holder)
            if (cipher := ciphers[row.subject]) is None:
                continue
            value = _text(_decrypted(cipher, row.sealed, _about(holder, row.kind, row.id)))
            if not hmac.compare_digest(self._id(scope, row.kind, value).encode(), row.id.encode()):
                raise VaultCorrupted("the vault has another value than the token was made for; restore it from a copy")
            yield row, value

    def _kept_cipher(self, holder: Scope) -> AESSIV | None:
        """The cipher of a subject; None where it was erased."""
        sealed = _asked(lambda: self._store.key(holder.tenant, holder.subject))
        return None if sealed is None else _siv(_decrypted(self._sealing(), sealed, _about(holder, "key", "")))


@lru_cache(maxsize=256)
def _derived(key: bytes, purpose: str) -> bytes:
    return b"".join(hmac.digest(key, f"{purpose}/{half}".encode(), sha256) for half in (0, 1))


def _asked(ask: Callable[[], T]) -> T:
    """What the store answers."""
    try:
        return ask()
    except Exception as error:
        kind = type(error).__name__
    # Outside the handler, so that the error of the store, which may quote a row, is no context of this one.
    raise VaultFailed(f"the store of the vault raised {kind}; the text goes nowhere until it works")


def _about(own: Scope, kind: str, made: str) -> list[bytes]:
    """The associated data of a row: it opens nowhere else."""
    return [json.dumps([own.tenant, own.subject, kind, made]).encode()]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


def _siv(key: bytes) -> AESSIV:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415 - is dear to import

    return AESSIV(key)


def _decrypted(cipher: AESSIV, sealed: bytes, about: list[bytes]) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - is dear to import

    try:
        return cipher.decrypt(sealed, about)
    except (InvalidTag, TypeError, ValueError):  # a file may have anything in the place of bytes
        pass
    raise VaultCorrupted("the vault has something that its key does not open; give the key that it was made with")


def _given(source: KeySource) -> bytes:
    """The deployment's key."""
    try:
        key = source() if callable(source) else source
        if key is None and (text := os.environ.get(KEY_VARIABLE)):
            key = b64decode(text, validate=True)
    except Exception as error:
        kind = type(error).__name__
    else:
        if isinstance(key, bytes) and len(key) >= LEAST_KEY:
            return key
        kind = "no key" if not key else f"fewer than {LEAST_KEY} bytes"
    raise DeidentifierKeyMissing(
        f"the key of the de-identifier cannot be had ({kind}); give 'key=', or set '{KEY_VARIABLE}' to 32 bytes in"
        " Base64"
    )
