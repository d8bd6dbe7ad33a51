"""What the de-identifier refuses. No message has a value of the text.

FlujoError
├── ConfigurationError
│   ├── DeidentifierKeyMissing  there is no key, or it is too short
│   └── DetectorMissing        a detector was named whose package or model is not there
└── DeidentificationError      the text was not de-identified, so nothing may go on with it
    ├── DetectorFailed         a detector raised, or gave a span that cannot be
    ├── DetectorTimeout        a detector did not answer in time
    ├── LanguageRefused        the text is in a language in which the detectors are weak
    ├── ModelGuarded           something that can be found would have gone to a model, or cannot be looked into
    ├── ValueBlocked           the text has something that the profile lets nowhere
    ├── VaultCorrupted         what the vault has cannot be read, or is not what the token was made for
    └── VaultFailed            the store of the vault raised
"""

from flujo_core import ConfigurationError, FlujoError


class DeidentifierKeyMissing(ConfigurationError):
    """There is no key, or it is too short."""


class DetectorMissing(ConfigurationError):
    """A detector was named whose package or model is not there; without it more would be left than was asked for."""


class DeidentificationError(FlujoError):
    """The text was not de-identified, so nothing may go on with it."""


class DetectorFailed(DeidentificationError):
    """A detector raised, or gave a span that cannot be; its name is told, and never what it said of the text."""


class DetectorTimeout(DeidentificationError):
    """A detector did not answer in time."""


class LanguageRefused(DeidentificationError):
    """The text seems to be in a language in which the detectors are weak, and the profile refuses those."""


class ValueBlocked(DeidentificationError):
    """The text has something that the profile lets nowhere; the message has its label and place."""


class ModelGuarded(DeidentificationError):
    """Something that can be found would have gone to a model, or something that cannot be looked into, as an image."""


class VaultCorrupted(DeidentificationError):
    """What the vault has cannot be read with its key, or is not what the token was made for."""


class VaultFailed(DeidentificationError):
    """The store of the vault raised; its class is told, and never what it said."""
