"""A stranger's plugin as a wheel, installed beside the kernel's: what it adds, and what becomes of its mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Edit = tuple[str, str, str]
Variant = Callable[..., Path]
Install = Callable[..., Path]
Run = Callable[..., Any]

LETTER = "Please lend me 900, and pay it into DE89370400440532013000."
PIPELINES = """
from flujo_core import Step

decide = Step.agent("decide", "acme-eu/underwriter")
pipeline = Step.registered("acme-eu/mask", takes=str, gives=str) >> decide
masked = Step.registered("acme-eu/mask", takes=str, gives=str)
"""
SAME = """
from flujo_core import step

@step
async def same(text: str) -> str:
    return text
"""
LOCKED = '[plugins]\nlock = "plugins.lock"\n'

NAME = ("acme_eu/plugin.py", '    name: ClassVar[str] = "acme-eu"\n')
HOOK = ("acme_eu/plugin.py", "    async def pre_step_execution(self, call: StepCall, /) -> None:\n")
INFO = "acme_eu-1.4.2.dist-info"
REQUIRES = (f"{INFO}/METADATA", "Requires-Dist: flujo-core>=0.1.0\n")
ENTRY = (f"{INFO}/entry_points.txt", "acme-eu = acme_eu.plugin:AcmeEu")
MARK: Edit = ("acme_eu/__init__.py", '"""\n', '"""\nfrom pathlib import Path\n\nPath("it-was-imported").touch()\n')


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    """The working directory, with the user's own pipelines in it."""
    (away_from_home / "pipelines.py").write_text(PIPELINES)
    return away_from_home


def doctor(flujo: Run, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    """What ``flujo plugins doctor --json`` says: its exit code, and its rows by distribution."""
    done = flujo("plugins", "doctor", "--json", **environ)
    assert done.stderr == "", done.stderr
    rows = json.loads(done.stdout)
    for row in rows:
        assert row.keys() == {"plugin", "distribution", "version", "state", "reason", "remedy"}
    return done.returncode, {row["distribution"]: row for row in rows}


def state(flujo: Run) -> tuple[int, str]:
    """The exit code of ``flujo plugins doctor``, and the state of acme-eu."""
    code, rows = doctor(flujo)
    return code, rows["acme-eu"]["state"]


def sentence(done: Any, code: int) -> str:
    """What a command that failed said: one line, and no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("flujo: "), done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def refused(flujo: Run, *says: str, version: str = "1.4.2") -> str:
    """The sentence with which a run is refused that does not begin."""
    said = sentence(flujo("run", "pipelines.py:masked", "-i", LETTER), 2)
    for part in ("plugin 'acme-eu'", f"(acme-eu {version})", *says):
        assert part in said, said
    return said


# ------------------------------------------------------------------------------------------------ what it adds


def test_a_program_uses_its_step_its_agent_and_its_veto(acme: Path, install: Install, python: Run) -> None:
    install(acme)
    program = f"""
from flujo_core import Flujo, RunRefused, Step, step

@step
async def trim(text: str) -> str:
    return text.strip()

mask = Step.registered("acme-eu/mask", takes=str, gives=str)
decide = Step.agent("decide", "acme-eu/underwriter")
result = Flujo(trim >> mask >> decide).run("  {LETTER}  ")
assert (result.output.granted, result.output.reason) == (True, "the limit is 1000"), result
assert not Flujo(mask >> decide).run("Please lend me 5000.").output.granted
assert Flujo(mask).run("{LETTER}").output == "Please lend me 900, and pay it into [account]."
try:
    Flujo(trim >> decide).run("{LETTER}")
except RunRefused as error:
    print(error.result.status, "-", error.result.error)
"""
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused - plugin 'acme-eu'")
    assert "'pre_step_execution'" in done.stdout and "'decide'" in done.stdout
    assert "an agent would see an account number" in done.stdout
    assert "DE89" not in done.stdout


def test_the_command_line_runs_and_checks_what_it_adds(acme: Path, install: Install, flujo: Run) -> None:
    install(acme)
    done = flujo("run", "pipelines.py:pipeline", "-i", LETTER, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {"granted": True, "reason": "the limit is 1000"}
    assert flujo("check", "pipelines.py:pipeline").returncode == 0
    said = sentence(flujo("run", "pipelines.py:decide", "-i", LETTER, "--json"), 3)
    assert "plugin 'acme-eu'" in said and "an agent would see an account number" in said and "DE89" not in said
    assert [run["status"] for run in json.loads(flujo("runs", "list", "--json").stdout)] == ["refused", "completed"]


def test_the_command_line_shows_it(acme: Path, install: Install, flujo: Run) -> None:
    install(acme)
    (row,) = json.loads(flujo("plugins", "list", "--json").stdout)
    assert (row["plugin"], row["distribution"], row["version"]) == ("acme-eu", "acme-eu", "1.4.2")
    assert state(flujo) == (0, "loaded")
    assert "loaded" in flujo("plugins", "doctor").stdout
    for shown in (flujo("plugins", "inspect", "acme-eu"), flujo("plugins", "inspect", "acme-eu", "--json")):
        assert shown.returncode == 0, shown.stderr
        for part in ("1.4.2", "acme-eu/mask", "acme-eu/underwriter", "pre_step_execution"):
            assert part in shown.stdout, shown.stdout
    json.loads(shown.stdout)
    assert "'acme-eu'" in sentence(flujo("plugins", "inspect", "acme-uk"), 2)


def test_what_is_not_there_is_missed_by_name(acme: Path, install: Install, flujo: Run, folder: Path) -> None:
    assert "'acme-eu/mask'" in sentence(flujo("run", "pipelines.py:masked", "-i", LETTER), 2)
    install(acme)
    (folder / "pipelines.py").write_text(PIPELINES.replace("acme-eu/mask", "acme-eu/masks"))
    assert "did you mean 'acme-eu/mask'" in sentence(flujo("run", "pipelines.py:masked", "-i", LETTER), 2)


# ------------------------------------------------------------------------------------------------ load-time mistakes


class Mistake(NamedTuple):
    """A variant of the plugin that cannot take part.

    Attributes:
        state: Its state.
        edits: What is different in its source.
        says: What the reason or the remedy has.
        ran: Whether its package was imported before that was found.
    """

    state: str
    edits: tuple[Edit, ...]
    says: tuple[str, ...]
    ran: bool = True


MISTAKES = {
    "wrong signature": Mistake(
        "invalid",
        ((*HOOK, HOOK[1].replace("call: StepCall", "call: StepCall, again: int")),),
        ("'pre_step_execution'",),
    ),
    "sync lifecycle hook": Mistake(
        "invalid", ((*HOOK, HOOK[1].replace("async ", "")),), ("'pre_step_execution'", "async def")
    ),
    "unknown hook": Mistake(
        "invalid",
        ((*HOOK, HOOK[1].replace("execution", "exeution")),),
        ("'pre_step_exeution'", "did you mean 'pre_step_execution'"),
    ),
    "no name": Mistake(
        "invalid", ((*NAME, '    name: ClassVar[str] = "acme/eu"\n'),), ("'AcmeEu'", "'acme/eu'", "'/'")
    ),
    "no plugin": Mistake("invalid", ((*ENTRY, "acme-eu = acme_eu.steps:mask"),), ("Plugin",)),
    "wrong kernel version": Mistake(
        "unmet", ((*REQUIRES, "Requires-Dist: flujo-core>=99\n"),), ("flujo-core", ">=99", "0.1.0"), ran=False
    ),
    "wrong api": Mistake("incompatible", ((*NAME, NAME[1] + '    api: ClassVar[str] = ">=2"\n'),), (">=2", "1.0")),
    "import error": Mistake(
        "broken", (("acme_eu/plugin.py", "from typing", "import acme_ledger\nfrom typing"),), ("acme_ledger",)
    ),
    "another's module": Mistake("foreign", ((*ENTRY, "acme-eu = pluggy:PluginManager"),), ("'pluggy'",), ran=False),
    "raising registration": Mistake(
        "refused",
        (("acme_eu/plugin.py", 'registry.add("mask", mask)', 'registry.add(1 / 0, "CANARY")'),),
        ("ZeroDivisionError", "'register_steps'"),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_has_its_state_and_its_sentence(
    variant: Variant, install: Install, flujo: Run, folder: Path, mistake: Mistake
) -> None:
    install(variant(MARK, *mistake.edits))
    code, rows = doctor(flujo)
    row = rows["acme-eu"]
    assert (code, row["state"], row["plugin"], row["version"]) == (2, mistake.state, "acme-eu", "1.4.2"), row
    for part in mistake.says:
        assert part in f"{row['reason']} {row['remedy']}", row
    said = refused(flujo, mistake.state, *mistake.says)
    assert " ".join(row["reason"].split()) in said and " ".join(row["remedy"].split()) in said, (row, said)
    assert "CANARY" not in said
    assert (folder / "it-was-imported").exists() is mistake.ran


def test_a_plugin_that_cannot_take_part_can_be_denied_or_let_go(
    variant: Variant, install: Install, flujo: Run, folder: Path
) -> None:
    install(variant(MARK, (*REQUIRES, "Requires-Dist: flujo-core>=99\n")))
    (folder / "pipelines.py").write_text(SAME)
    assert flujo("run", "pipelines.py:same", "-i", "x").returncode == 2
    assert flujo("run", "pipelines.py:same", "-i", "x", FLUJO_DISABLE="Acme_EU").returncode == 0
    code, rows = doctor(flujo, FLUJO_DISABLE="acme-eu")
    assert (code, rows["acme-eu"]["state"]) == (0, "denied")
    (folder / "flujo.toml").write_text('[plugins.policies]\nacme-eu = "open"\n')
    done = flujo("run", "pipelines.py:same", "-i", "x", "--json")
    assert done.returncode == 0 and "plugin.left_out" in done.stderr, done.stderr
    assert json.loads(done.stdout)["output"] == "x"
    assert state(flujo) == (2, "unmet")
    (folder / "flujo.toml").write_text('[plugins]\nrequired = ["acme-eu"]\n[plugins.policies]\nacme-eu = "open"\n')
    assert flujo("run", "pipelines.py:same", "-i", "x").returncode == 2
    assert not (folder / "it-was-imported").exists()


def test_a_required_plugin_that_is_not_there_is_missing(flujo: Run, folder: Path) -> None:
    (folder / "flujo.toml").write_text('[plugins]\nrequired = ["acme-eu"]\n')
    code, rows = doctor(flujo)
    assert (code, rows["acme-eu"]["state"], len(rows)) == (2, "missing", 1)
    assert "acme-eu" in sentence(flujo("run", "pipelines.py:masked", "-i", LETTER), 2)


def test_a_module_of_somebody_elses_that_takes_its_place_is_not_imported(
    acme: Path, install: Install, flujo: Run, folder: Path
) -> None:
    install(acme)
    (folder / "acme_eu.py").write_text('open("it-was-imported", "w").close()\n')
    done = flujo("plugins", "doctor", "--json", PYTHONPATH=str(folder))
    assert (done.returncode, [row["state"] for row in json.loads(done.stdout)]) == (2, ["foreign"])
    said = sentence(flujo("run", "pipelines.py:masked", "-i", LETTER, PYTHONPATH=str(folder)), 2)
    assert "'acme-eu' (acme-eu 1.4.2)" in said and str(folder / "acme_eu.py") in said
    assert not (folder / "it-was-imported").exists()


@pytest.mark.parametrize("entry", ["acme-eu", "umbrella-eu"], ids=["entry point", "plugin"])
def test_a_name_that_two_distributions_give_is_refused_and_both_are_named(
    variant: Variant, install: Install, flujo: Run, folder: Path, entry: str
) -> None:
    other = (ENTRY[0], "acme-eu = ", f"{entry} = ")
    install(variant(MARK), variant(MARK, other, distribution="umbrella-eu"))
    code, rows = doctor(flujo)
    assert code == 2 and rows.keys() == {"acme-eu", "umbrella-eu"}
    assert {(row["plugin"], row["state"]) for row in rows.values()} == {("acme-eu", "duplicate")}
    said = sentence(flujo("run", "pipelines.py:masked", "-i", LETTER), 2)
    for part in ("'acme-eu'", "acme-eu 1.4.2", "umbrella-eu 1.4.2"):
        assert part in said, said
    assert (folder / "it-was-imported").exists() is (entry != "acme-eu")
    assert flujo("run", "pipelines.py:masked", "-i", LETTER, FLUJO_DISABLE="umbrella-eu").returncode == 0


# ------------------------------------------------------------------------------------------------ mistakes of a run


RAISES = (*HOOK, HOOK[1] + '        raise ValueError("CANARY")\n')
HANGS = (*HOOK, HOOK[1] + '        await __import__("asyncio").sleep(3600)\n')


@pytest.mark.parametrize(
    ("edit", "what"), [(RAISES, "raised ValueError"), (HANGS, "took longer than")], ids=["raising", "hanging"]
)
def test_a_hook_that_goes_wrong_refuses_the_run_and_is_named_with_all_that_helps(
    variant: Variant, install: Install, flujo: Run, python: Run, edit: Edit, what: str
) -> None:
    install(variant(edit))
    assert state(flujo) == (0, "loaded")
    said = sentence(flujo("run", "pipelines.py:masked", "-i", LETTER, "--json", FLUJO_HOOK_TIMEOUT="0.2"), 3)
    for part in ("plugin 'acme-eu'", "acme-eu 1.4.2", what, "'pre_step_execution'", "'mask'"):
        assert part in said, said
    assert "CANARY" not in said and "DE89" not in said
    assert [run["status"] for run in json.loads(flujo("runs", "list", "--json").stdout)] == ["refused"]
    program = f"""
from flujo_core import Flujo, RunRefused, Step
try:
    Flujo(Step.registered("acme-eu/mask", takes=str, gives=str)).run("{LETTER}")
except RunRefused as error:
    cause = error.__cause__
    print(cause.plugin, cause.distribution, cause.version, cause.hook, cause.step)
"""
    done = python(program, FLUJO_HOOK_TIMEOUT="0.2")
    assert done.stdout.strip() == "acme-eu acme-eu 1.4.2 pre_step_execution mask", done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------ the lock


@pytest.fixture(scope="module")
def lock() -> dict[str, bytes]:
    """The lock that ``flujo plugins lock`` wrote; made once, by the first test that needs it."""
    return {}


@pytest.fixture
def locked(variant: Variant, install: Install, flujo: Run, folder: Path, lock: dict[str, bytes]) -> Path:
    """acme-eu, installed and locked: the folder of the environment's packages."""
    site = install(variant(MARK))
    (folder / "flujo.toml").write_text(LOCKED)
    if not lock:
        done = flujo("plugins", "lock")
        assert done.returncode == 0, done.stderr
        lock["plugins.lock"] = (folder / "plugins.lock").read_bytes()
    (folder / "plugins.lock").write_bytes(lock["plugins.lock"])
    return site


def test_the_lock_is_written_where_the_configuration_names_it(
    variant: Variant, install: Install, flujo: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(variant(MARK))
    (folder / "flujo.toml").write_text('[plugins]\nlock = "locks/mine.lock"\n')
    (folder / "locks").mkdir()
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    done = flujo("plugins", "lock")
    assert done.returncode == 0, done.stderr
    text = (folder / "locks/mine.lock").read_text()
    assert "acme-eu" in text and "1.4.2" in text and "acme_eu/steps.py" in text
    assert not (folder / "below/it-was-imported").exists() and not (folder / "it-was-imported").exists()
    assert state(flujo) == (0, "loaded")


def test_without_a_line_in_the_configuration_the_lock_is_plugins_lock_here_and_not_in_force(
    acme: Path, install: Install, flujo: Run, folder: Path
) -> None:
    site = install(acme)
    assert flujo("plugins", "lock").returncode == 0
    first = (folder / "plugins.lock").read_bytes()
    assert flujo("plugins", "lock").returncode == 0
    assert (folder / "plugins.lock").read_bytes() == first
    change(site / "acme_eu/steps.py")
    assert state(flujo) == (0, "loaded")


def test_a_locked_plugin_takes_part(locked: Path, flujo: Run) -> None:
    assert state(flujo) == (0, "loaded")
    assert flujo("run", "pipelines.py:masked", "-i", LETTER).stdout.endswith("[account].\n")


@pytest.mark.parametrize("file", ["acme_eu/steps.py", f"{INFO}/entry_points.txt"])
def test_a_file_that_was_changed_after_the_lock_refuses_the_start(
    locked: Path, flujo: Run, folder: Path, file: str
) -> None:
    change(locked / file)
    assert state(flujo) == (2, "changed")
    refused(flujo, file)
    assert not (folder / "it-was-imported").exists()


def test_byte_code_of_another_source_refuses_the_start(locked: Path, flujo: Run, folder: Path) -> None:
    assert flujo("run", "pipelines.py:masked", "-i", LETTER).returncode == 0
    (cached,) = (locked / "acme_eu/__pycache__").glob("steps.*.pyc")
    (other,) = (locked / "acme_eu/__pycache__").glob("account.*.pyc")
    cached.write_bytes(cached.read_bytes()[:16] + other.read_bytes()[16:])
    assert state(flujo) == (2, "changed")
    refused(flujo, "acme_eu/steps.py")


def test_another_version_than_the_locked_one_is_unlocked(
    locked: Path, variant: Variant, install: Install, flujo: Run, folder: Path
) -> None:
    install(variant(MARK, version="1.4.3"))
    assert state(flujo) == (2, "unlocked")
    refused(flujo, "1.4.2", version="1.4.3")
    assert not (folder / "it-was-imported").exists()


def test_a_locked_plugin_that_is_not_installed_is_missing(locked: Path, flujo: Run) -> None:
    remove(locked)
    code, rows = doctor(flujo)
    assert (code, rows["acme-eu"]["state"], rows["acme-eu"]["version"]) == (2, "missing", "1.4.2")
    refused(flujo, "plugins.lock")


def test_an_editable_install_is_unlocked_and_cannot_be_locked(
    locked: Path, project: Path, install: Install, flujo: Run, folder: Path
) -> None:
    file, old, new = MARK
    (project / file).write_text((project / file).read_text().replace(old, new))
    install("--editable", project)
    assert state(flujo) == (2, "unlocked")
    refused(flujo, "editable")
    before = (folder / "plugins.lock").read_bytes()
    said = sentence(flujo("plugins", "lock"), 2)
    assert "acme-eu 1.4.2" in said and "editable" in said
    assert (folder / "plugins.lock").read_bytes() == before
    assert not (folder / "it-was-imported").exists()


def test_an_editable_install_takes_part_while_there_is_no_lock(project: Path, install: Install, flujo: Run) -> None:
    install("--editable", project)
    assert state(flujo) == (0, "loaded")
    assert flujo("run", "pipelines.py:masked", "-i", LETTER).stdout.endswith("[account].\n")


def test_the_lock_holds_where_the_same_wheel_is_installed_from_elsewhere(
    locked: Path, variant: Variant, install: Install, flujo: Run, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    install(shutil.copy(variant(MARK), tmp_path / "elsewhere"))
    assert doctor(flujo)[1]["acme-eu"]["reason"] == ""
    assert state(flujo) == (0, "loaded")


def change(file: Path) -> None:
    """Adds a line to an installed file, in its place."""
    file.write_text(file.read_text() + "\n")


def remove(site: Path) -> None:
    """Uninstalls acme-eu."""
    for path in site.glob("acme_eu*"):
        shutil.rmtree(path)
