"""Targets: pipelines named on the command line as ``module:attr``, ``file.py:attr`` or ``pipeline.yaml``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from flujo_core.config import load_settings
from flujo_core.errors import ConfigurationError, FlujoError, did_you_mean
from flujo_core.model.flow import Node

SPECS = (".yaml", ".yml", ".json")
"""How the names of files end that hold a pipeline's spec."""

LOADED_FILE = "flujo_target_"
"""What the names of modules begin with that are loaded from a file: no other process can import them by that name."""


def load_target(target: str) -> Node[Any, Any]:
    """The pipeline that a target names.

    Raises:
        ConfigurationError: It names none; the message says what was found.
        SpecError: It is a file with a spec, which says what cannot be.
    """
    if target.endswith(SPECS):
        return _load_spec(Path(target))
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise ConfigurationError(
            f"'{target}' names no pipeline; write 'module:attr', 'path/to/file.py:attr' or 'pipeline.yaml'"
        )
    module = _load_module(place)
    if not hasattr(module, name):
        known = [attr for attr, value in vars(module).items() if isinstance(value, Node)]
        raise ConfigurationError(f"'{place}' has no '{name}'{did_you_mean(name, known)}")
    found = getattr(module, name)
    if not isinstance(found, Node):
        raise ConfigurationError(f"'{target}' is a {type(found).__name__!r}, not a pipeline or a step")
    return found


def _load_module(place: str) -> ModuleType:
    try:
        return _load_file(Path(place)) if place.endswith(".py") else _load_named(place)
    except FlujoError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"'{place}' cannot be imported: it raised {type(error).__name__}: {error}; 'flujo --debug ...' shows where"
        ) from error


def _load_spec(path: Path) -> Node[Any, Any]:
    from flujo_core.agents.pipelines import pipeline_from_spec  # noqa: PLC0415 - most targets are code

    _import_from_here()
    return pipeline_from_spec(path, imports=load_settings().specs.import_prefixes)


def _import_from_here() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _load_named(place: str) -> ModuleType:
    _import_from_here()
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module '{place}'; write one that can be imported from here, or 'path/to/file.py:attr'"
            ) from error
        raise


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"there is no file '{path}'")
    if (folder := str(path.parent.absolute())) not in sys.path:
        sys.path.append(folder)  # last, so that a 'queue.py' beside it takes nobody's place
    name = f"{LOADED_FILE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
