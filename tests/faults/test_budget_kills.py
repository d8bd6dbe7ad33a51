"""Processes that are killed between a reservation and its settlement: what is spent never exceeds the budget.

The models are simulated, and each of their requests costs $0.40.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path

from budget_kit import check_never_over, told

from flujo_core import BudgetSettled, Flujo, PluginSettings, Settings, Spend, SQLiteStore, Standing, step

PROGRAM = textwrap.dedent("""
    import asyncio, os, sys
    from pathlib import Path
    sys.path.append(sys.argv[1])
    from budget_kit import Desk, metered
    from flujo_core import Budget, BudgetExceeded, SQLiteStore

    folder, per, run_id, sleeps = Path(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5] == "sleep"

    def asked():
        with open(folder / "asked", "a") as log:
            log.write("x")
        if sleeps:
            (folder / f"sent-{os.getpid()}").touch()
            signal_wait()

    def signal_wait():
        import time
        time.sleep(60)

    async def main():
        store = SQLiteStore(folder / "runs.db")
        fan = Desk(before=asked).fan(6, on_error="collect")
        flujo = metered(fan, Budget(cost_usd=1, per=per), store=store)
        try:
            if await store.run(run_id) is None:
                await flujo.run_async("x", run_id=run_id, tenant="acme")
            else:
                await flujo.resume_async(run_id)
        except BudgetExceeded:
            print("exceeded")
        finally:
            await store.close()

    asyncio.run(main())
""")
CONTRACTS = str(Path(__file__).parents[1] / "contracts")


def program(folder: Path, per: str, run_id: str, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, CONTRACTS, str(folder), per, run_id, how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_while_a_request_is_under_way(folder: Path, per: str, run_id: str) -> None:
    process = program(folder, per, run_id, "sleep")
    sent, end = folder / f"sent-{process.pid}", time.monotonic() + 60
    while not sent.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def resumed(folder: Path, per: str, run_id: str) -> str:
    output, errors = program(folder, per, run_id, "go").communicate(timeout=120)
    assert "Error" not in errors, errors
    return output


def test_killed_while_requests_are_under_way_a_run_never_spends_more_than_its_budget(tmp_path: Path) -> None:
    killed_while_a_request_is_under_way(tmp_path, "run", "r")
    assert "exceeded" in resumed(tmp_path, "run", "r")

    @step
    async def same(text: str) -> str:
        return text

    async def events() -> list[object]:
        store = SQLiteStore(tmp_path / "runs.db")
        try:
            return list(await Flujo(same, settings=Settings(PluginSettings(allow=())), store=store).events_async("r"))
        finally:
            await store.close()

    found = asyncio.run(events())
    spent = check_never_over(found, Decimal(1))  # type: ignore[arg-type]
    assert spent.cost_usd == Decimal("0.8")
    lost = [one for one in told(found) if isinstance(one, BudgetSettled) and not one.is_known]  # type: ignore[arg-type]
    assert len(lost) >= 1
    assert len((tmp_path / "asked").read_text()) <= 2


def test_killed_while_requests_are_under_way_the_runs_of_a_tenant_never_spend_more_than_its_budget(
    tmp_path: Path,
) -> None:
    killed_while_a_request_is_under_way(tmp_path, "tenant", "r1")
    assert "exceeded" in resumed(tmp_path, "tenant", "r1")
    assert "exceeded" in resumed(tmp_path, "tenant", "r2")

    async def standing() -> Standing:
        store = SQLiteStore(tmp_path / "runs.db")
        try:
            return await store.standing("acme")
        finally:
            await store.close()

    found = asyncio.run(standing())
    assert found.spent.cost_usd == Decimal("0.8")
    assert found.held == Spend()
    assert len((tmp_path / "asked").read_text()) <= 2
