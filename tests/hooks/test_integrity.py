"""Whether a plugin's files are its distribution's own, and those that the lock knows."""

from __future__ import annotations

import json
import os
import py_compile
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flujo_core import PluginLoadError
from flujo_core.hooks.integrity import (
    changed_file,
    foreign_module,
    foreign_package,
    lock_of,
    locked_plugins,
    unlocked,
)
from flujo_core.hooks.scan import Installed, scan

Install = Callable[..., None]
EDITABLE = {"url": "file:///somewhere%20else", "dir_info": {"editable": True}}


@pytest.fixture
def acme(install: Install, here: Path) -> Callable[..., Installed]:
    """Installs a distribution, and gives what the scan finds of it."""

    def made(source: str = "it = 5\n", **how: Any) -> Installed:
        install("acme", "acme_files", source, p="acme_files:it", **how)
        scan.cache_clear()
        return next(one for one in scan() if one.distribution == "acme")

    return made


def again(found: Installed) -> Installed:
    """The same distribution, as another process would find it."""
    scan.cache_clear()
    return next(one for one in scan() if one.distribution == found.distribution)


def locked(found: Installed) -> tuple[tuple[str, str], ...]:
    return tuple(json.loads(lock_of([found]))["plugins"]["acme"]["files"].items())


# --------------------------------------------------------------------------------------------------------- origin


def test_a_module_that_record_lists_is_the_distributions_own(acme: Callable[..., Installed]) -> None:
    found = acme()
    assert foreign_package(found) is None
    found.point.load()
    assert foreign_module(found) is None


def test_without_a_record_nothing_is(acme: Callable[..., Installed]) -> None:
    assert foreign_package(acme(recorded=False)) == "has no list of its files (RECORD)"


def test_a_module_of_that_name_elsewhere_is_foreign(
    acme: Callable[..., Installed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = acme()
    (tmp_path / "acme_files.py").write_text("raise SystemExit('run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(tmp_path / "acme_files.py") in (foreign_package(found) or "")


@pytest.mark.parametrize("spec", [None, "missing"])
def test_a_module_that_somebody_made_is_foreign(
    acme: Callable[..., Installed], monkeypatch: pytest.MonkeyPatch, spec: str | None
) -> None:
    found, made = acme(), ModuleType("acme_files")
    if spec is None:
        made.__spec__ = None
    monkeypatch.setitem(sys.modules, "acme_files", made)
    assert "another one of that name is imported" in (foreign_package(found) or "")
    made.__file__ = None
    assert "no file" in (foreign_module(found) or "")


def test_a_package_that_is_not_there_is_left_to_the_import(install: Install, here: Path) -> None:
    install("acme", "acme_there", "", p="acme_not_there:it")
    assert foreign_package(next(one for one in scan() if one.distribution == "acme")) is None


def test_an_editable_install_owns_what_is_in_its_project(acme: Callable[..., Installed], here: Path) -> None:
    assert foreign_package(acme(direct_url=EDITABLE | {"url": here.as_uri()})) is None


def test_an_editable_install_does_not_own_what_is_elsewhere(acme: Callable[..., Installed]) -> None:
    assert "which is not its own" in (foreign_package(acme(direct_url=EDITABLE)) or "")


# ----------------------------------------------------------------------------------------------------------- lock


def test_what_was_locked_is_as_it_was(acme: Callable[..., Installed]) -> None:
    found = acme()
    assert changed_file(found, locked(found)) is None and unlocked(found, "1.0") is None


def test_a_lock_holds_what_the_wheel_brought_and_not_what_the_installer_notes(acme: Callable[..., Installed]) -> None:
    names = {name for name, _ in locked(acme(direct_url={"url": "file:///wheel", "archive_info": {}}))}
    assert names == {"acme_files.py", "acme-1.0.dist-info/METADATA", "acme-1.0.dist-info/entry_points.txt"}


def test_another_version_or_an_editable_install_is_not_what_was_locked(acme: Callable[..., Installed]) -> None:
    assert unlocked(acme(), "0.9") == "is of version 1.0, and locked at 0.9"


def test_an_editable_install_is_refused_and_cannot_be_locked(acme: Callable[..., Installed]) -> None:
    found = acme(direct_url=EDITABLE)
    assert "editable" in (unlocked(found, "1.0") or "")
    with pytest.raises(PluginLoadError, match=r"'acme 1\.0' is an editable install"):
        lock_of([found])


def test_each_change_of_the_files_is_named(acme: Callable[..., Installed], here: Path) -> None:
    found = acme()
    files = locked(found)
    (here / "acme_files.py").write_text("it = 6\n")
    assert "'acme_files.py' that is not the one" in (changed_file(again(found), files) or "")
    (here / "acme_files.py").unlink()
    assert "lacks the file 'acme_files.py'" in (changed_file(again(found), files) or "")
    (here / "acme_files.py").write_text("it = 5\n")
    with (here / "acme-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("acme_more.py,,\n")
    assert "'acme_more.py', which was not there" in (changed_file(again(found), files) or "")


@pytest.mark.parametrize("source", ["it = 5\n", "it = 1e999 - 1e999\n"])
def test_byte_code_that_comes_from_its_source_is_as_it_was(
    acme: Callable[..., Installed], here: Path, source: str
) -> None:
    found = acme(source)
    py_compile.compile(str(here / "acme_files.py"), doraise=True)
    assert changed_file(found, locked(found)) is None


@pytest.mark.parametrize("how", ["timestamp", "unchecked", "garbage"])
def test_byte_code_that_does_not_come_from_its_source_is_a_change(
    acme: Callable[..., Installed], here: Path, how: str
) -> None:
    found = acme()
    files, source = locked(found), here / "acme_files.py"
    stat = source.stat()
    source.write_text("it = 6\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    mode = py_compile.PycInvalidationMode
    py_compile.compile(
        str(source), doraise=True, invalidation_mode=mode.UNCHECKED_HASH if how == "unchecked" else mode.TIMESTAMP
    )
    if how == "garbage":
        cached = Path(cache_from_source(str(source)))
        cached.write_bytes(cached.read_bytes()[:17])
    source.write_text("it = 5\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "byte code of 'acme_files.py'" in (changed_file(found, files) or "")


@pytest.mark.parametrize("how", ["older source", "other Python"])
def test_byte_code_that_python_would_not_run_is_no_change(acme: Callable[..., Installed], here: Path, how: str) -> None:
    found = acme()
    cached = Path(cache_from_source(str(here / "acme_files.py")))
    cached.parent.mkdir()
    (here / "other.py").write_text("it = 66\n")
    py_compile.compile(str(here / "other.py"), str(cached), doraise=True)
    if how == "other Python":
        cached.write_bytes(b"\0\0\0\0" + cached.read_bytes()[4:])
    assert changed_file(found, locked(found)) is None


@pytest.mark.parametrize("folder", ["more", "no__pycache__"])
def test_a_module_in_a_package_that_record_does_not_list_is_a_change(install: Install, here: Path, folder: str) -> None:
    (here / "acme_package").mkdir()
    install("acme", "acme_package/__init__", "it = 5\n", p="acme_package:it")
    found = next(one for one in scan() if one.distribution == "acme")
    files = locked(found)
    (here / "acme_package" / "notes.txt").write_text("no module\n")
    assert changed_file(found, files) is None
    (here / "acme_package" / folder).mkdir()
    (here / "acme_package" / folder / "late.py").write_text("x = 1\n")
    said = changed_file(again(found), files) or ""
    assert f"'acme_package/{folder}/late.py' in its package that its RECORD" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is not there"),
        ("{", "cannot be read"),
        ("[]", "is no lock"),
        ('{"flujo_lock": 2, "plugins": {}}', "is no lock"),
        ('{"flujo_lock": 1, "plugins": {"acme": {"version": "1.0"}}}', "is no lock"),
        ('{"flujo_lock": 1, "plugins": {"acme": {"version": "1.0", "files": {"a": 5}}}}', "is no lock"),
    ],
)
def test_a_lock_that_cannot_be_read_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "plugins.lock"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PluginLoadError, match=said):
        locked_plugins(file)


def test_a_lock_is_the_same_text_each_time(acme: Callable[..., Installed]) -> None:
    found = acme()
    assert lock_of([found]) == lock_of([again(found)])


def test_a_module_beside_those_of_a_package_without_an_init_is_a_change(install: Install, here: Path) -> None:
    (here / "acme_space").mkdir()
    install("acme", "acme_space/plugin", "it = 5\n", p="acme_space.plugin:it")
    found = next(one for one in scan() if one.distribution == "acme")
    files = locked(found)
    (here / "acme_space" / "late.py").write_text("x = 1\n")
    assert "'acme_space/late.py' in its package that its RECORD" in (changed_file(found, files) or "")
