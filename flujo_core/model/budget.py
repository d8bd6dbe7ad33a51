"""Budgets: what a run, a step or a tenant may spend; and prices, of models that no list has."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Protocol, Self, TypeAlias, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flujo_core.model.spend import Limit


def _exact(given: object) -> Decimal:
    """An amount as it is written: 0.1 is a tenth."""
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(given, bool) or not amount.is_finite() or amount < 0:
        raise ValueError("an amount of US dollars is a number, at least 0")
    return amount


Money: TypeAlias = Annotated[Decimal | float, BeforeValidator(_exact)]
"""US dollars; kept as a ``Decimal``."""

Count: TypeAlias = Annotated[int, Field(ge=0)]

Duration: TypeAlias = Annotated[timedelta, Field(gt=timedelta())]

AMOUNTS = ("cost_usd", "tokens", "requests", "tool_calls")
"""The fields of a budget that are held and settled."""


class Budget(BaseModel):
    """What may be spent. At least one amount is given; each that is given holds.

    Attributes:
        cost_usd: US dollars for requests to models.
        tokens: Tokens sent to models and received.
        requests: Requests to models.
        tool_calls: Calls of agents' tools.
        wall_time: How long a run may go on; what it waits for people does not count.
        per: Of what it is the budget: of each run, of each step of a run (by its address: with all its attempts), or of
            all runs of a tenant.
        window: Of a tenant's budget: what was spent in this time counts; None: all that was ever spent.
        when_short: Whether what does not fit waits while other requests are under way, which may come to less than was
            reserved for them, or is refused at once.
        unpriced: Whether a request is refused of which the price, or the most that it can use, is not known; or is let
            through, and counted when it has ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost_usd: Money | None = None
    tokens: Count | None = None
    requests: Count | None = None
    tool_calls: Count | None = None
    wall_time: Duration | None = None
    per: Literal["run", "step", "tenant"] = "run"
    window: Duration | None = None
    when_short: Literal["wait", "refuse"] = "wait"
    unpriced: Literal["refuse", "allow"] = "refuse"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.wall_time is None and not self.is_of_calls:
            raise ValueError(f"a budget says how much: give one of {', '.join(AMOUNTS)}, wall_time")
        if self.window is not None and self.per != "tenant":
            raise ValueError(
                f"a budget per {self.per} has no window, which is of what a tenant spends; say per='tenant'"
            )
        if self.wall_time is not None and self.per != "run":
            raise ValueError(f"wall_time is per run, not per {self.per}; give a step a 'timeout' instead")
        return self

    @property
    def limit(self) -> Limit:
        """Its amounts, as a ledger knows them."""
        window = None if self.window is None else self.window.total_seconds()
        return Limit(
            None if self.cost_usd is None else Decimal(self.cost_usd),
            self.tokens,
            self.requests,
            self.tool_calls,
            window,
        )

    @property
    def is_of_calls(self) -> bool:
        """Whether it limits requests or tool calls, and not only the time."""
        return any(getattr(self, name) is not None for name in AMOUNTS)

    def __str__(self) -> str:
        amounts = [f"{getattr(self, name)} {WORDS[name]}" for name in AMOUNTS if getattr(self, name) is not None]
        amounts += [] if self.wall_time is None else [f"{self.wall_time.total_seconds():g} s"]
        window = "" if self.window is None else f" in {self.window}"
        return f"{' and '.join(amounts)} per {self.per}{window}"


WORDS = {"cost_usd": "USD", "tokens": "tokens", "requests": "requests", "tool_calls": "tool calls"}
"""What an amount is counted in."""


class Price(BaseModel):
    """What a model costs, and the most that a request to it can use.

    Attributes:
        input_usd_per_mtok: US dollars for a million tokens that are sent.
        output_usd_per_mtok: US dollars for a million tokens that are received.
        request_usd: US dollars for each request.
        context_window: How many tokens a request can have, sent and received; None: not known.
        max_output_tokens: How many tokens it gives at most, where a request does not say; None: not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd_per_mtok: Money = Decimal()
    output_usd_per_mtok: Money = Decimal()
    request_usd: Money = Decimal()
    context_window: Count | None = None
    max_output_tokens: Count | None = None

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What a request costs, in US dollars."""
        per_input, per_output = Decimal(self.input_usd_per_mtok), Decimal(self.output_usd_per_mtok)
        return Decimal(self.request_usd) + (input_tokens * per_input + output_tokens * per_output) / 1_000_000


FREE = Price()


@runtime_checkable
class PricedModel(Protocol):
    """A model that says itself what it costs.

    Attributes:
        price: That.
    """

    price: Price
