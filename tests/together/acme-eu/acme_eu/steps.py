"""The steps that the plugin brings."""

from acme_eu.account import ACCOUNT
from flujo_core import step


@step
async def mask(text: str) -> str:
    """The text with ``[account]`` in the place of each account number."""
    return ACCOUNT.sub("[account]", text)
