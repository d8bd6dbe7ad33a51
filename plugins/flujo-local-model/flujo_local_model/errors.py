"""What a local model refuses, beyond the kernel's own errors, and the rule by which it refuses.

FlujoError
├── ConfigurationError     weights or a package missing, an unknown model name, tools given to the agent
└── ModelRejected
    └── InputTooLong       the input and the reply do not fit the model's window together
"""

from typing import Final

from flujo_core import ModelRejected

SMALLEST_REPLY: Final = 256
"""Tokens of the window that an input must leave free for a reply that may be as long or longer."""


class InputTooLong(ModelRejected):
    """The input is too long for the model; raised before anything is sent to it.

    Attributes:
        found: The tokens of the input, counted by the model's own tokenizer, chat template included.
        limit: The most tokens an input may have beside the smallest reply kept free.
        window: The tokens of input and reply together that the model can see.
    """

    def __init__(self, model: str, *, found: int, limit: int, window: int) -> None:
        super().__init__(
            f"the input is {found:,} tokens and '{model}' takes at most {limit:,} (its window of {window:,} tokens "
            f"holds the reply too); shorten it, or split it into parts of at most {limit:,} tokens"
        )
        self.found = found
        self.limit = limit
        self.window = window


def room_for_reply(model: str, *, found: int, wanted: int, window: int) -> int:
    """The tokens that a reply may have: those wanted, or fewer where an input of ``found`` tokens leaves fewer.

    Raises:
        InputTooLong: It leaves fewer than are wanted, and fewer than ``SMALLEST_REPLY``.
    """
    limit = window - min(wanted, SMALLEST_REPLY)
    if found > limit:
        raise InputTooLong(model, found=found, limit=limit, window=window)
    return min(wanted, window - found)
