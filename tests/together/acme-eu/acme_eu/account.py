"""Account numbers: how they look."""

import re

ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b")
"""An IBAN, written without spaces."""
