"""Whether a plugin's files are what they should be: its distribution's own, and those that the lock knows.

RECORD is the list of an installed distribution's files (PyPA's "Recording installed projects"). The lock is JSON:
``{"flujo_lock": 1, "plugins": {NAME: {"version": VERSION, "files": {PATH: "sha256:HEX"}}}}``.
"""

from __future__ import annotations

import csv
import json
import marshal
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.machinery import all_suffixes
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path
from sys import modules
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flujo_core.errors import PluginLoadError
from flujo_core.hooks.scan import Installed

if TYPE_CHECKING:
    from importlib_metadata import Distribution

FORMAT = 1
INSTALLERS_OWN = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
"""Files beside the metadata that an installer writes about itself: they differ from one installation to the next."""

Files = Mapping[str, str]


# --------------------------------------------------------------------------------------------------------- origin


@cache
def foreign_package(found: Installed) -> str | None:
    """Why the package that an entry point names is not the distribution's own, or None. It is not imported for it."""
    module, top = _module(found), _module(found).partition(".")[0]
    if _record(found.source) is None:
        return "has no list of its files (RECORD)"
    try:
        spec = find_spec(top)
    except ValueError:  # a module without a spec stands in its place
        return f"has a module '{top}', and another one of that name is imported"
    if spec is None or spec.origin is None:  # there is none, which the import will say; or a namespace of several
        return None
    return None if _owns(found.source, Path(spec.origin)) else _elsewhere(module, spec.origin)


@cache
def foreign_module(found: Installed) -> str | None:
    """Why the module that was imported is not the distribution's own, or None."""
    module = _module(found)
    file = modules[module].__file__
    if file is not None and _owns(found.source, Path(file)):
        return None
    return _elsewhere(module, file)


def _module(found: Installed) -> str:
    return found.target.partition(":")[0].strip()


def _elsewhere(module: str, file: str | None) -> str:
    return f"has a module '{module}', and what is imported by that name is {file or 'no file'}, which is not its own"


def _owns(source: Distribution, file: Path) -> bool:
    if (project := editable_project(source)) is not None:
        return file.resolve().is_relative_to(project.resolve())
    same_name = (name for name in _record(source) or () if name.rpartition("/")[2] == file.name)
    return any(_located(source, name).resolve() == file.resolve() for name in same_name)


@cache
def _record(source: Distribution) -> frozenset[str] | None:
    """The files that a distribution's RECORD lists, or None if it has none."""
    try:
        text = source.read_text("RECORD")
    except UnicodeDecodeError:
        return None
    return None if text is None else frozenset(row[0] for row in csv.reader(text.splitlines()) if row)


def _located(source: Distribution, name: str) -> Path:
    return Path(str(source.locate_file(name)))


def editable_project(source: Distribution) -> Path | None:
    """The folder that an editable install stands for, or None (PEP 610)."""
    try:
        said = json.loads(source.read_text("direct_url.json") or "{}")
    except (ValueError, RecursionError):
        return None
    match said:
        case {"url": str(url), "dir_info": {"editable": True}}:
            return Path(unquote(urlsplit(url).path))
    return None


# ----------------------------------------------------------------------------------------------------------- lock


def locked_plugins(file: Path) -> Mapping[str, Any]:
    """What a lock file says of each distribution.

    Raises:
        PluginLoadError: It cannot be read, or is no lock.
    """
    try:
        said = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise PluginLoadError(
            f"the lock '{file}' is not there; 'flujo plugins lock' writes it, or take '[plugins] lock' out"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise PluginLoadError(f"the lock '{file}' cannot be read ({type(error).__name__})") from error
    match said:
        case {"flujo_lock": 1, "plugins": dict(plugins)} if all(map(_is_locked, plugins.values())):
            return plugins
    raise PluginLoadError(f"'{file}' is no lock of plugins that this version can read; write it again")


def _is_locked(plugin: object) -> bool:
    match plugin:
        case {"version": str(), "files": dict(files)}:
            return all(isinstance(digest, str) for digest in files.values())
    return False


def lock_of(sources: Iterable[Installed]) -> str:
    """The text of a lock for these plugins.

    Raises:
        PluginLoadError: One of them cannot be locked.
    """
    plugins = {}
    for found in sources:
        if editable_project(found.source) is not None:
            raise PluginLoadError(
                f"'{found.distribution} {found.version}' is an editable install, whose files may change at any time;"
                " install it from a wheel, or deny it"
            )
        plugins[found.distribution] = {"version": found.version, "files": dict(sorted(digests(found.source).items()))}
    return json.dumps({"flujo_lock": FORMAT, "plugins": dict(sorted(plugins.items()))}, indent=1) + "\n"


def digests(source: Distribution) -> Files:
    """The digest of each file that a distribution's RECORD lists.

    Left out are byte code, which follows from the source, and what an installer notes about itself. A file that is not
    there has the digest "gone".
    """
    return {name: _digest(path) for name, path in _recorded(source)}


def _recorded(source: Distribution) -> Iterator[tuple[str, Path]]:
    for name in _record(source) or ():
        folder, _, last = name.rpartition("/")
        own = folder.endswith(".dist-info") and last in INSTALLERS_OWN
        if not own and not name.endswith(".pyc"):
            yield name, _located(source, name)


def _digest(path: Path) -> str:
    try:
        return f"sha256:{sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return "gone"


def unlocked(found: Installed, version: str) -> str | None:
    """Why a plugin's distribution is not the one that was locked at a version, as the end of a sentence, or None."""
    if editable_project(found.source) is not None:
        return "is an editable install, and a lock is in force"
    return None if version == found.version else f"is of version {found.version}, and locked at {version}"


@cache
def changed_file(plugin: Installed, locked: tuple[tuple[str, str], ...]) -> str | None:
    """How a plugin's files differ from the locked ones, as the end of a sentence, or None.

    They are looked at once in a process, before the plugin is imported.
    """
    source, files = plugin.source, dict(locked)
    found = digests(source)
    for name in sorted(found.keys() | files.keys()):
        if name not in files:
            return f"has a file '{name}', which was not there when it was locked"
        if found.get(name, "gone") == "gone":
            return f"lacks the file '{name}', which was there when it was locked"
        if found[name] != files[name]:
            return f"has a file '{name}' that is not the one that was locked"
    stale = (name for name, path in _recorded(source) if path.suffix == ".py" and not _compiles_to_its_cache(path))
    for name in stale:
        return f"has byte code of '{name}' that does not come from that file"
    for path in _unlisted(source):
        return f"has a file '{path}' in its package that its RECORD does not list"
    return None


def _compiles_to_its_cache(path: Path) -> bool:
    """Whether the byte code that Python would run in the place of a source file is what the source compiles to."""
    try:
        cached = Path(cache_from_source(str(path))).read_bytes()
    except (OSError, NotImplementedError):
        return True
    if not _would_run(cached, path):
        return True
    try:
        found = marshal.loads(cached[16:])
        made = marshal.loads(marshal.dumps(compile(path.read_bytes(), path, "exec", dont_inherit=True)))
    except (EOFError, ValueError, TypeError, SyntaxError):
        return False
    return bool(found == made) or marshal.dumps(found) == marshal.dumps(made)  # a constant NaN is not equal to itself


def _would_run(cached: bytes, path: Path) -> bool:
    """Whether Python would take byte code for current, by its header (PEP 552)."""
    if cached[:4] != MAGIC_NUMBER:
        return False
    status = path.stat()
    dated = struct.pack("<LL", int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return cached[4:8] != bytes(4) or cached[8:16] == dated


def _unlisted(source: Distribution) -> Iterator[str]:
    """Files in a distribution's packages that could be imported and that are not its own."""
    listed = _record(source) or frozenset()
    packages = {name.removesuffix("/__init__.py") for name in listed if name.endswith("/__init__.py")}
    parents = {name.rpartition("/")[0] for name in listed if name.endswith(".py") and "/" in name}
    patterns = dict.fromkeys(parents, "*") | dict.fromkeys(packages, "**/*")  # others may share the rest
    for folder in sorted(patterns):
        root = _located(source, folder)
        for path in sorted(root.glob(patterns[folder])):
            within = path.relative_to(root)
            name = f"{folder}/{within.as_posix()}"
            if name.endswith(tuple(all_suffixes())) and "__pycache__" not in within.parts and name not in listed:
                yield name
