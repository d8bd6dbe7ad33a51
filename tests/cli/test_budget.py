"""``flujo budget show``, as a person uses it. The model is simulated, and has a made-up price."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from budget_kit import Desk, metered

from flujo_core import Budget, BudgetExceeded, Spend, SQLiteStore
from flujo_core.cli.main import run_command
from flujo_core.store.ledger import Hold

CONFIGURATION = """
[[budgets]]
cost_usd = 0.5

[[budgets]]
cost_usd = 50
per = "tenant"
window = "P1D"
"""
STORE = "sqlite:///runs.db"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)

    def tell(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run_command(["budget", "show", "--store", STORE, *arguments]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    return tell


def spend() -> None:
    async def main() -> None:
        store = SQLiteStore("runs.db")
        desk = Desk()
        flujo = metered(desk.fan(6, on_error="collect"), Budget(cost_usd=1, per="tenant"), store=store)
        with pytest.raises(BudgetExceeded):
            await flujo.run_async("x", run_id="r", tenant="acme")
        await store.reserve(Hold("acme", "other", Spend(Decimal("0.1"), 5, 1, 1), 60.0), [])
        await store.close()

    asyncio.run(main())


def test_it_prints_the_budgets_of_the_configuration(told, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert told() == ""
    (tmp_path / "flujo.toml").write_text(CONFIGURATION)
    assert told() == "budget  0.5 USD per run\nbudget  50 USD per tenant in 1 day, 0:00:00\n"


def test_it_tells_what_a_run_and_each_of_its_steps_has_spent(told) -> None:  # type: ignore[no-untyped-def]
    spend()
    assert told("--run", "r").splitlines() == [
        "run r: 0.8 USD, 22 tokens, 2 requests",
        "fan[b0]/b0: 0.4 USD, 11 tokens, 1 requests",
        "fan[b1]/b1: 0.4 USD, 11 tokens, 1 requests",
    ]
    assert "there is no run 's' in the store" in told("--run", "s", code=2)


def test_it_tells_what_a_tenant_has_spent_and_holds(told, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    spend()
    (tmp_path / "flujo.toml").write_text(CONFIGURATION)
    amounts = "0.8 USD, 22 tokens, 2 requests; held: 0.1 USD, 5 tokens, 1 requests, 1 tool calls"
    assert told("--tenant", "acme").splitlines()[2:] == [
        f"tenant acme, ever: {amounts}",
        f"tenant acme, last 1 day, 0:00:00: {amounts}",
    ]
    facts = json.loads(told("--tenant", "acme", "--json"))
    assert facts["budgets"][1] == {
        "cost_usd": "50", "per": "tenant", "window": "P1D", "when_short": "wait", "unpriced": "refuse",
    }  # fmt: skip
    assert facts["ledger"][0]["spent"] == {"cost_usd": "0.8", "tokens": 22, "requests": 2, "tool_calls": 0}


def test_a_run_and_a_tenant_are_not_told_of_at_once(told) -> None:  # type: ignore[no-untyped-def]
    assert "give '--run' or '--tenant'" in told("--run", "r", "--tenant", "t", code=2)
