"""The demo, with the real model: over its own letter, over a document that nobody here wrote, and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FLUJO = [sys.executable, "-m", "flujo_core.cli"]
LICENCE = Path(__file__).parents[2] / "LICENSE"


def _flujo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FLUJO, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_demo_reads_a_licence_and_journals_a_run_of_the_real_model(tmp_path: Path) -> None:
    done = _flujo(tmp_path, "demo", "--input", str(LICENCE))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    taken, total = report["read"].removesuffix(" characters").split(" of ")
    assert 500 < int(taken) <= 2400 and int(total) == len(LICENCE.read_text())
    assert report["reply"] and report["record"]["title"] and report["topic"]
    assert "SmolLM2-135M runs on this machine, and is very small" in done.stderr
    run_id = done.stderr.partition("flujo runs show ")[2].strip()
    shown = json.loads(_flujo(tmp_path, "runs", "show", run_id, "--json").stdout)
    assert shown["status"] == "completed"
    agents = [step for step in shown["steps"] if step["usage"]]
    assert [step["address"] for step in agents] == ["extract", "classify", "answer", "check"]
    assert all(step["usage"]["input_tokens"] > 20 and step["usage"]["output_tokens"] > 0 for step in agents)


def test_an_empty_document_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("  \n")
    done = _flujo(tmp_path, "demo", "--input", "empty.txt", "--json")
    assert done.returncode == 1
    assert "step 'read' failed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_leaves_no_process_and_a_truthful_status(tmp_path: Path, times: int) -> None:
    child = subprocess.Popen(
        [*FLUJO, "demo"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if "✓ read" in line:
            break
    time.sleep(0.5)  # the model is loading, or at work
    for _ in range(times):  # as people press it
        child.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, rest = child.communicate(timeout=30)
    assert child.returncode == 130, rest
    assert "Traceback" not in rest and "is cancelled; see it again" in rest
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)
    listed = json.loads(_flujo(tmp_path, "runs", "list", "--json").stdout)
    assert [run["status"] for run in listed] == ["cancelled"]
