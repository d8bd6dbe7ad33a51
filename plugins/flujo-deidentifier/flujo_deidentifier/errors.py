"""What the de-identifier refuses. No message has a value of the text.

FlujoError
├── ConfigurationError
│   └── DetectorMissing        a detector was named whose package or model is not there
└── DeidentificationError      the text was not de-identified, so nothing may go on with it
    ├── DetectorFailed         a detector raised, or gave a span that cannot be
    ├── DetectorTimeout        a detector did not answer in time
    ├── LanguageRefused        the text is in a language in which the detectors are weak
    └── ValueBlocked           the text has something that the profile lets nowhere
"""

from flujo_core import ConfigurationError, FlujoError


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
