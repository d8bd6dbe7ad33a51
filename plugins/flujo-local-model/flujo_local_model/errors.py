"""What a local model refuses, beyond the kernel's own errors.

FlujoError
├── ConfigurationError     weights or a package missing, an unknown model name, tools given to the agent
└── InputTooLong           the input and the reply do not fit the model's window together
"""

from flujo_core import FlujoError


class InputTooLong(FlujoError):
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
