"""The configuration: ``flujo.toml`` or ``[tool.flujo]`` in ``pyproject.toml``, and ``FLUJO_*`` in the environment.

The file is the nearest one from the working directory upwards. The environment overrides it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flujo_core.errors import ConfigurationError, did_you_mean


def normalised(distribution: str) -> str:
    """A distribution's name as lists compare it (PEP 503)."""
    return "-".join(part for part in distribution.lower().replace("_", "-").replace(".", "-").split("-") if part)


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Which installed plugins take part, by the names of their distributions.

    Attributes:
        allow: Only these; None: every installed one.
        deny: Not these, whatever ``allow`` says.
        required: The start is refused unless these are there.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def allows(self, distribution: str) -> bool:
        """Whether the plugins of ``distribution`` may be loaded."""
        name = normalised(distribution)
        if name in map(normalised, self.deny):
            return False
        return self.allow is None or name in map(normalised, self.allow)

    def without(self, distributions: Sequence[str]) -> PluginSettings:
        """The same, with more denied."""
        return replace(self, deny=(*self.deny, *distributions))


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration.

    Attributes:
        plugins: Which installed plugins take part.
        source: The file that it was read from, or None.
    """

    plugins: PluginSettings = PluginSettings()
    source: Path | None = None


def load_settings(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the nearest configuration file from ``start`` upwards, and the environment.

    Args:
        start: Where to begin; the working directory, unless given.
        environ: The environment.

    Raises:
        ConfigurationError: The file cannot be read, or says something that is not known.
    """
    source, table = _nearest((start or Path.cwd()).absolute())
    _check_keys(table, ("plugins",), source, "")
    plugins = _table(table.get("plugins", {}), "plugins", source)
    return Settings(_from_environment(_plugin_settings(plugins, source), environ), source)


def _nearest(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    for place in (folder, *folder.parents):
        if (own := place / "flujo.toml").is_file():
            return own, _read(own)
        if (shared := place / "pyproject.toml").is_file():
            tool = _read(shared).get("tool", {})
            if isinstance(tool, dict) and "flujo" in tool:
                return shared, _table(tool["flujo"], "tool.flujo", shared)
    return None, {}


def _table(value: Any, name: str, source: Path | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"'{name}' in {source} is a table; write '[{name}]'")
    return value


def _read(file: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - not every start has a file to read

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"configuration file {file} cannot be read: {error}") from error


def _check_keys(table: Mapping[str, Any], known: Sequence[str], source: Path | None, section: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigurationError(
                f"{source} has a key '{section}{key}', which means nothing{did_you_mean(key, known)}"
            )


def _plugin_settings(table: Mapping[str, Any], source: Path | None) -> PluginSettings:
    known = ("allow", "deny", "required")
    _check_keys(table, known, source, "plugins.")
    for key, value in table.items():
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise ConfigurationError(f"'plugins.{key}' in {source} is a list of distribution names")
    return PluginSettings(**{key: tuple(value) for key, value in table.items()})


def _from_environment(plugins: PluginSettings, environ: Mapping[str, str]) -> PluginSettings:
    if "FLUJO_PLUGINS" in environ:
        plugins = replace(plugins, allow=_names(environ["FLUJO_PLUGINS"]))
    return plugins.without(_names(environ.get("FLUJO_DISABLE", "")))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
