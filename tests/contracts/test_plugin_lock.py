"""The lock: what was locked is what runs, file by file; everything else refuses the start before its code runs."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_kit import Deployment, work

from flujo_core import ConfigurationError, Flujo, Plugin, PluginLoadError, PluginSettings, Settings


class Locked(Deployment):
    """A deployment with a lock, the file ``plugins.lock``."""

    @property
    def lock(self) -> Path:
        return self.app / "plugins.lock"

    def deploy(self, distribution: str, *, version: str = "1.5", editable: bool = False) -> None:
        """Installs a distribution: a module, a table that it reads, and the metadata, all with their digests."""
        files = {f"{distribution.replace('-', '_')}_data/rules.txt": "deny all"}
        self.install(distribution, version=version, files=files, direct_url=EDITABLE if editable else None)

    def uninstall(self, distribution: str) -> None:
        module = distribution.replace("-", "_")
        shutil.rmtree(self.info(distribution))
        shutil.rmtree(self.site / f"{module}_data")
        (self.site / f"{module}.py").unlink()

    def states(self) -> tuple[int, dict[str, str]]:
        code, rows = self.doctor()
        return code, {name: row["state"] for name, row in rows.items()}

    def forget(self) -> None:
        """Forgets what has been imported until now."""
        for path in self.app.glob("imported-*"):
            path.unlink()


@pytest.fixture
def locked(tmp_path: Path, site: Path, install: Callable[..., None], record: Callable[..., None]) -> Locked:
    return Locked(tmp_path / "app", site, install, record)


EDITABLE = {"url": "file:///src", "dir_info": {"editable": True}}
IN_FORCE = 'lock = "plugins.lock"'

# ------------------------------------------------------------------------------------ writing it


def test_lock_writes_beside_the_configuration_and_says_which_line_puts_it_in_force(locked: Locked) -> None:
    locked.deploy("acme-a")
    locked.deploy("acme-denied")
    locked.configure(allow=["acme-a"])
    below = locked.app / "below"
    below.mkdir()
    done = locked.flujo("plugins", "lock", cwd=below)
    assert done.code == 0, done.err
    assert str(locked.lock) in done.out.replace("\n", "") and IN_FORCE in done.out + done.err
    written = locked.lock.read_text()
    assert "acme-a" in written and "1.5" in written and "acme-denied" not in written
    locked.lock.write_text("")
    assert locked.states() == (0, {"acme-a": "loaded", "acme-denied": "denied"}), "no line, and in force all the same"


def test_lock_writes_the_file_that_the_configuration_names_relative_to_itself(locked: Locked) -> None:
    locked.deploy("acme-a")
    locked.configure('lock = "../my.lock"', allow=["acme-a"])
    below = locked.app / "below"
    below.mkdir()
    done = locked.flujo("plugins", "lock", cwd=below)
    assert done.code == 0 and "my.lock" in done.out, done.err
    assert (locked.app.parent / "my.lock").exists() and not locked.lock.exists()
    assert locked.states() == (0, {"acme-a": "loaded"})


def test_lock_without_a_configuration_writes_to_the_working_directory(locked: Locked) -> None:
    locked.deploy("acme-a")
    done = locked.flujo("plugins", "lock", FLUJO_PLUGINS="acme-a")
    assert done.code == 0 and locked.lock.exists() and IN_FORCE in done.out + done.err, done.err


def test_an_editable_install_cannot_be_locked(locked: Locked) -> None:
    locked.deploy("acme-a")
    locked.deploy("acme-dev", editable=True)
    locked.configure(IN_FORCE, allow=["acme-a", "acme-dev"])
    done = locked.flujo("plugins", "lock")
    assert done.code == 2 and "acme-dev" in done.err and "editable" in done.err and not locked.lock.exists()


# ------------------------------------------------------------------------------------ in force


def _change_module(locked: Locked, name: str) -> None:
    with (locked.site / f"{name.replace('-', '_')}.py").open("a") as file:
        file.write("# one more line\n")


def _change_data(locked: Locked, name: str) -> None:
    (locked.site / f"{name.replace('-', '_')}_data/rules.txt").write_text("deny sll")


def _delete_data(locked: Locked, name: str) -> None:
    (locked.site / f"{name.replace('-', '_')}_data/rules.txt").unlink()


def _change_module_and_record(locked: Locked, name: str) -> None:
    _change_module(locked, name)
    locked.record(name, *locked.recorded(name))


def _change_data_and_take_it_off_the_record(locked: Locked, name: str) -> None:
    _change_data(locked, name)
    locked.record(name, *(path for path in locked.recorded(name) if not path.endswith("rules.txt")))


def _touch(locked: Locked, name: str) -> None:
    os.utime(locked.site / f"{name.replace('-', '_')}.py", (1, 1))


def _upgrade(locked: Locked, name: str) -> None:
    locked.uninstall(name)
    locked.deploy(name, version="1.6")


def _make_editable(locked: Locked, name: str) -> None:
    (locked.info(name) / "direct_url.json").write_text(json.dumps(EDITABLE))


def _uninstall(locked: Locked, name: str) -> None:
    locked.uninstall(name)


def _nothing(locked: Locked, name: str) -> None:
    pass


TAMPERING: dict[str, tuple[Callable[[Locked, str], None], str]] = {
    "acme-fine": (_nothing, "loaded"),
    "acme-touched": (_touch, "loaded"),
    "acme-module": (_change_module, "changed"),
    "acme-data": (_change_data, "changed"),
    "acme-deleted": (_delete_data, "changed"),
    "acme-record": (_change_module_and_record, "changed"),
    "acme-off-record": (_change_data_and_take_it_off_the_record, "changed"),
    "acme-upgraded": (_upgrade, "unlocked"),
    "acme-editable": (_make_editable, "unlocked"),
    "acme-gone": (_uninstall, "missing"),
}


@pytest.fixture
def tampered(locked: Locked) -> Locked:
    """A deployment that was locked, and tampered with afterwards; ``acme-new`` came later."""
    for name in TAMPERING:
        locked.deploy(name)
    locked.configure(IN_FORCE, allow=[*TAMPERING, "acme-new"])
    done = locked.flujo("plugins", "lock")
    assert done.code == 0, done.err
    locked.forget()
    for name, (tamper, _) in TAMPERING.items():
        tamper(locked, name)
    locked.deploy("acme-new")
    return locked


def test_what_is_not_as_it_was_locked_does_not_run_whatever_its_record_says(tampered: Locked) -> None:
    code, states = tampered.states()
    assert code == 2
    assert states == {name: state for name, (_, state) in TAMPERING.items()} | {"acme-new": "unlocked"}
    assert tampered.imported() == {"acme-fine", "acme-touched"}


def test_doctor_names_the_file_that_changed(tampered: Locked) -> None:
    _, rows = tampered.doctor()
    assert "acme_module.py" in rows["acme-module"]["reason"]
    assert "rules.txt" in rows["acme-data"]["reason"] and "rules.txt" in rows["acme-deleted"]["reason"]
    assert "1.5" in rows["acme-upgraded"]["reason"] and rows["acme-upgraded"]["version"] == "1.6"
    for name in TAMPERING:
        if rows[name]["state"] != "loaded":
            assert rows[name]["remedy"], rows[name]


PROGRAM = """
import json
from pathlib import Path
from flujo_core import Flujo, PluginLoadError, PluginSettings, Settings, step

@step
async def work(value: int) -> int:
    return value + 1

def came_to(*allow, **more):
    settings = Settings(PluginSettings(allow=allow, lock=Path("plugins.lock"), **more))
    try:
        return Flujo(work, settings=settings).run(1).output
    except PluginLoadError as error:
        return str(error)

names = NAMES
print(json.dumps({
    name: [came_to(name), came_to(name, policies={one: "open" for one in names}),
           came_to(name, policies={one: "open" for one in names}, required=(name,))]
    for name in names
}))
"""


def test_a_plugin_that_is_not_as_it_was_locked_refuses_the_start_and_is_left_out_only_where_its_policy_is_open(
    tampered: Locked,
) -> None:
    tampered.deploy("acme-gone")
    names = [name for name, (_, state) in TAMPERING.items() if state in ("changed", "unlocked")] + ["acme-new"]
    done = tampered.python("-c", PROGRAM.replace("NAMES", repr(names)))
    assert done.code == 0, done.err
    for name, (closed, opened, required) in json.loads(done.out.splitlines()[-1]).items():
        state = TAMPERING.get(name, (None, "unlocked"))[1]
        assert isinstance(closed, str) and name in closed and state in closed, closed
        assert opened == 2 and isinstance(required, str), (opened, required)
    assert tampered.imported() == set()


def test_what_the_lock_has_and_is_not_installed_refuses_the_start(locked: Locked) -> None:
    for name in ("acme-fine", "acme-gone"):
        locked.deploy(name)
    locked.configure(IN_FORCE, allow=["acme-fine", "acme-gone"])
    assert locked.flujo("plugins", "lock").code == 0
    locked.uninstall("acme-gone")
    program = PROGRAM.replace("NAMES", "['acme-fine']").replace("came_to(name", "came_to(name, 'acme-gone'")
    done = locked.python("-c", program)
    closed, opened, _ = json.loads(done.out.splitlines()[-1])["acme-fine"]
    assert "missing" in closed and "acme-gone" in closed and isinstance(opened, str)


def test_running_what_was_locked_does_not_change_it(locked: Locked) -> None:
    locked.deploy("acme-fine")
    locked.configure(IN_FORCE, allow=["acme-fine"])
    assert locked.flujo("plugins", "lock").code == 0
    for _ in range(2):
        assert locked.states() == (0, {"acme-fine": "loaded"})
    assert list(locked.site.glob("__pycache__/acme_fine*")), "nothing was compiled, so this showed nothing"


def test_compiled_code_that_the_record_lists_is_locked_too(locked: Locked, tmp_path: Path) -> None:
    """An interpreter that finds compiled code with the time and size of the source runs it, and not the source."""
    locked.deploy("acme-compiled")
    module = locked.site / "acme_compiled.py"
    compiled = py_compile.compile(str(module))
    assert compiled is not None
    locked.record("acme-compiled", *locked.recorded("acme-compiled"), str(Path(compiled).relative_to(locked.site)))
    locked.configure(IN_FORCE, allow=["acme-compiled"])
    assert locked.flujo("plugins", "lock").code == 0
    assert locked.states() == (0, {"acme-compiled": "loaded"})
    locked.forget()
    other = tmp_path / "other.py"
    other.write_text(module.read_text().replace("imported-", "poisoned-"))
    os.utime(other, (module.stat().st_atime, module.stat().st_mtime))
    assert other.stat().st_size == module.stat().st_size
    py_compile.compile(str(other), cfile=compiled)
    assert locked.states() == (2, {"acme-compiled": "changed"})
    assert not list(locked.app.glob("poisoned-*")) and locked.imported() == set()


# ------------------------------------------------------------------------------------ a lock that is none


@pytest.mark.parametrize(
    "text", [None, "{", "[]", "5", '{"version": 99}', 'plugins = "all"', "\x00"], ids=lambda text: repr(text)[:12]
)
def test_a_lock_that_is_missing_or_cannot_be_read_refuses_the_start(tmp_path: Path, text: str | None) -> None:
    lock = tmp_path / "plugins.lock"
    if text is not None:
        lock.write_text(text)
    with pytest.raises(ConfigurationError, match=r"plugins\.lock") as refused:
        Flujo(work, settings=Settings(PluginSettings(lock=lock)))
    assert len(str(refused.value).splitlines()) == 1


def test_an_empty_lock_locks_nothing_in_and_everything_out(locked: Locked) -> None:
    locked.deploy("acme-a")
    locked.configure(IN_FORCE, allow=[])
    assert locked.flujo("plugins", "lock").code == 0
    locked.configure(IN_FORCE, allow=["acme-a"])
    code, states = locked.states()
    assert code == 2 and states == {"acme-a": "unlocked"} and locked.imported() == set()


def test_a_plugin_given_in_code_has_no_distribution_and_the_lock_has_no_say(locked: Locked, tmp_path: Path) -> None:
    locked.configure(IN_FORCE, allow=[])
    assert locked.flujo("plugins", "lock").code == 0
    given: Plugin = type("Given", (Plugin,), {"name": "given"})()
    settings = Settings(PluginSettings(allow=(), lock=locked.lock))
    try:
        assert Flujo(work, plugins=[given], settings=settings).plugins == ("given",)
    except PluginLoadError as error:
        pytest.fail(f"it begins at 'invalid': {error}")
