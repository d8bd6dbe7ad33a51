"""The configuration: ``flujo.toml`` or ``[tool.flujo]`` in ``pyproject.toml``, and ``FLUJO_*`` in the environment.

The file is the nearest one from the working directory upwards. The environment overrides it; under the profile
``regulated`` it may tighten, and never loosen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from flujo_core.errors import ConfigurationError, did_you_mean
from flujo_core.model.slotted import frozen

if TYPE_CHECKING:
    from flujo_core.model.budget import Budget, Price
    from flujo_core.model.retention import Retention

T = TypeVar("T", bound=BaseModel)

Policy: TypeAlias = Literal["closed", "open"]
"""What an error in a plugin means: the run ends, or it is logged and the run goes on."""


Profile: TypeAlias = Literal["dev", "default", "regulated"]
"""What is asked of a deployment, from the least to the most."""

PROFILES: tuple[Profile, ...] = ("dev", "default", "regulated")


def normalised(distribution: str) -> str:
    """A distribution's name as lists compare it (PEP 503)."""
    return "-".join(part for part in distribution.lower().replace("_", "-").replace(".", "-").split("-") if part)


@frozen()
class PluginSettings:
    """Which installed plugins take part, by the names of their distributions.

    Attributes:
        allow: Only these; None: every installed one.
        deny: Not these, whatever ``allow`` says.
        required: The start is refused unless these are there.
        order: These are called first, in this order; here and in ``policies``, a plugin that was given to ``Flujo``
            directly goes by its own name.
        policies: What an error in a plugin means: ``closed`` (the run ends), unless it is ``open`` (the error is logged
            and the run goes on).
        hook_timeout: How long one call of one plugin, or of one value codec, may take, in seconds.
        lock: The file that says which versions and files the installed plugins have; None: any.
        tables: What is said of single plugins, in ``[plugins.NAME]``, by these names.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    hook_timeout: float = 30.0
    lock: Path | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def table(self, *names: str) -> Mapping[str, Any] | None:
        """What is said of a plugin, by its distribution or its own name; None if nothing is."""
        wanted = {normalised(name) for name in names}
        return next((table for name, table in self.tables.items() if normalised(name) in wanted), None)

    def allows(self, distribution: str) -> bool:
        """Whether the plugins of ``distribution`` may be loaded."""
        name = normalised(distribution)
        if name in map(normalised, self.deny):
            return False
        return self.allow is None or name in map(normalised, self.allow)

    def rank(self, name: str) -> int:
        """The place of a plugin in ``order``, by its distribution or its own name; the end if it is not there."""
        listed = [normalised(one) for one in self.order]
        return listed.index(normalised(name)) if normalised(name) in listed else len(listed)

    def policy(self, name: str) -> Policy:
        """What an error in a plugin means, by its distribution or its own name."""
        named: list[Policy] = [policy for one, policy in self.policies.items() if normalised(one) == normalised(name)]
        return named[0] if named else "closed"

    def without(self, distributions: Sequence[str]) -> PluginSettings:
        """The same, with more denied."""
        return replace(self, deny=(*self.deny, *distributions))


@frozen()
class SpecSettings:
    """What pipelines in YAML or JSON may name.

    Attributes:
        import_prefixes: The modules, or packages with all that is in them, whose functions and types they may name by
            import path; without any, they can name only what plugins have registered.
    """

    import_prefixes: tuple[str, ...] = ()


@frozen()
class Settings:
    """The configuration.

    Attributes:
        plugins: Which installed plugins take part.
        source: The file that it was read from, or None.
        specs: What pipelines in YAML or JSON may name.
        codecs: The names of the codecs that payloads go through before they are kept, in this order.
        budgets: What runs, steps and tenants may spend.
        prices: What models cost, by patterns of their names.
        profile: What is asked of the deployment: ``regulated`` refuses to start unless all of it is there; ``default``
            asks for nothing; ``dev`` is for a machine of one's own, where plugins may capture contents.
        content_capture: Whether plugins that trace runs may take prompts, inputs and outputs with it; None: as the
            profile says, in ``dev`` they may.
        retention: How long runs are kept after they have ended, where somebody prunes them; None: nothing is said.
    """

    plugins: PluginSettings = PluginSettings()
    source: Path | None = None
    specs: SpecSettings = SpecSettings()
    codecs: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    profile: Profile = "default"
    content_capture: bool | None = None
    retention: Retention | None = None

    @property
    def captures_content(self) -> bool:
        """Whether plugins that trace runs may take contents with it."""
        return self.profile == "dev" if self.content_capture is None else self.content_capture

    @property
    def digest(self) -> str:
        """A SHA-256 of what is said, wherever the file is that says it."""
        from pydantic_core import to_json  # noqa: PLC0415 - is needed when something starts up

        return sha256(to_json(replace(self, source=None))).hexdigest()

    @property
    def is_regulated(self) -> bool:
        """Whether all is refused that the profile ``regulated`` refuses."""
        return self.profile == "regulated"


def load_settings(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the nearest configuration file from ``start`` upwards, and the environment.

    Args:
        start: Where to begin; the working directory, unless given.
        environ: The environment.

    Raises:
        ConfigurationError: The file cannot be read, or says something that is not known; or the environment would
            lower the profile, or loosen what a regulated deployment says.
    """
    source, table = _nearest((start or Path.cwd()).absolute())
    known = ("plugins", "specs", "codecs", "budgets", "prices", "profile", "content_capture", "retention")
    _check_keys(table, known, source, "")
    plugins = _table(table.get("plugins", {}), "plugins", source)
    specs = _spec_settings(_table(table.get("specs", {}), "specs", source), source)
    codecs = _strings(table.get("codecs", []), f"'codecs' in {source} is a list of names, such as [\"zstd\"]")
    profile = _profile_of_environment(_profile(table.get("profile", "default"), f"'profile' in {source}"), environ)
    captures = table.get("content_capture")
    if not isinstance(captures, bool | None):
        raise ConfigurationError(f"'content_capture' in {source} is true or false")
    own = _plugin_settings(plugins, source)
    changed = _from_environment(own, environ)
    if profile == "regulated":
        _check_tightened(own, changed)
    budgets, prices, retention = _budgets(table, source), _prices(table, source), _retention(table, source)
    return Settings(changed, source, specs, codecs, budgets, prices, profile, captures, retention)


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
    lists = ("allow", "deny", "required", "order")
    known = (*lists, "policies", "hook_timeout", "lock")
    tables = {name: one for name, one in table.items() if name not in known and isinstance(one, dict)}
    _check_keys({name: one for name, one in table.items() if name not in tables}, known, source, "plugins.")
    given: dict[str, Any] = {"tables": tables}
    for key in lists:
        if key in table:
            given[key] = _list(table[key], f"'plugins.{key}' in {source}")
    if "policies" in table:
        given["policies"] = _policies(_table(table["policies"], "plugins.policies", source), source)
    if "hook_timeout" in table:
        given["hook_timeout"] = _seconds(table["hook_timeout"], f"'plugins.hook_timeout' in {source}")
    if "lock" in table:
        given["lock"] = _file(table["lock"], f"'plugins.lock' in {source}", source)
    return PluginSettings(**given)


def _budgets(table: Mapping[str, Any], source: Path | None) -> tuple[Budget, ...]:
    """The tables ``[[budgets]]``."""
    given = table.get("budgets", [])
    if not isinstance(given, list):
        raise ConfigurationError(f"'budgets' in {source} are tables; write '[[budgets]]' above each")
    if not given:
        return ()
    from flujo_core.model.budget import Budget  # noqa: PLC0415 - few deployments have budgets

    return tuple(_valid(Budget, one, f"budget {place} in {source}") for place, one in enumerate(given, 1))


def _prices(table: Mapping[str, Any], source: Path | None) -> dict[str, Price]:
    """The tables ``[prices."acme:*"]``."""
    given = _table(table.get("prices", {}), "prices", source)
    if not given:
        return {}
    from flujo_core.model.budget import Price  # noqa: PLC0415

    return {name: _valid(Price, one, f"the price of '{name}' in {source}") for name, one in given.items()}


def _retention(table: Mapping[str, Any], source: Path | None) -> Retention | None:
    if "retention" not in table:
        return None
    from flujo_core.model.retention import retention_of  # noqa: PLC0415 - only who prunes needs it

    return retention_of(_table(table["retention"], "retention", source), source)


def _valid(kind: type[T], given: Any, what: str) -> T:
    """What a table says, as an object of a class.

    Raises:
        ConfigurationError: It says something that cannot be; the message has the first flaw.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        flaw = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, flaw["loc"]))
        where = f", at '{place}'" if place else ""
        raise ConfigurationError(f"{what} is not right{where}: {flaw['msg'].removeprefix('Value error, ')}") from None


def _spec_settings(table: Mapping[str, Any], source: Path | None) -> SpecSettings:
    _check_keys(table, ("import_prefixes",), source, "specs.")
    given = table.get("import_prefixes", [])
    if not isinstance(given, list) or not all(isinstance(one, str) and one.strip(".") for one in given):
        raise ConfigurationError(f"'specs.import_prefixes' in {source} is a list of modules, such as [\"acme.flows\"]")
    return SpecSettings(tuple(given))


def _file(value: Any, what: str, source: Path | None) -> Path:
    """A path, relative to the file that names it."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} is a path")
    return (source.parent if source else Path()) / value


def _list(value: Any, what: str) -> tuple[str, ...]:
    return _strings(value, f"{what} is a list of distribution names")


def _strings(value: Any, otherwise: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigurationError(otherwise)
    return tuple(value)


def _policies(table: Mapping[str, Any], source: Path | None) -> dict[str, Policy]:
    for name, policy in table.items():
        if policy not in ("closed", "open"):
            raise ConfigurationError(f"the policy of '{name}' in {source} is 'closed' or 'open', not {policy!r}")
    return dict(table)


def _seconds(value: Any, what: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"{what} is a number of seconds above 0")
    return seconds


def _from_environment(plugins: PluginSettings, environ: Mapping[str, str]) -> PluginSettings:
    if "FLUJO_PLUGINS" in environ:
        plugins = replace(plugins, allow=_names(environ["FLUJO_PLUGINS"]))
    if "FLUJO_HOOK_TIMEOUT" in environ:
        seconds = _seconds(environ["FLUJO_HOOK_TIMEOUT"], "the environment variable 'FLUJO_HOOK_TIMEOUT'")
        plugins = replace(plugins, hook_timeout=seconds)
    return plugins.without(_names(environ.get("FLUJO_DISABLE", "")))


def _profile(given: object, what: str) -> Profile:
    for profile in PROFILES:
        if given == profile:
            return profile
    close = did_you_mean(given, PROFILES) if isinstance(given, str) else ""
    raise ConfigurationError(f"{what} is 'dev', 'default' or 'regulated'{close}")


def _profile_of_environment(own: Profile, environ: Mapping[str, str]) -> Profile:
    """The profile, which the environment may raise.

    Raises:
        ConfigurationError: It would lower it.
    """
    if "FLUJO_PROFILE" not in environ:
        return own
    wanted = _profile(environ["FLUJO_PROFILE"], "the environment variable 'FLUJO_PROFILE'")
    if PROFILES.index(wanted) < PROFILES.index(own):
        raise ConfigurationError(
            f"the environment variable 'FLUJO_PROFILE' would lower the profile from '{own}' to '{wanted}', which only"
            " the configuration file can; unset it"
        )
    return wanted


def _check_tightened(own: PluginSettings, changed: PluginSettings) -> None:
    """Checks that the environment does not loosen what a regulated deployment says.

    Raises:
        ConfigurationError: It does.
    """
    more = [name for name in changed.allow or () if not own.allows(name)]
    if own.allow is not None and more:
        raise ConfigurationError(
            f"the environment variable 'FLUJO_PLUGINS' would allow '{more[0]}', which the configuration of a regulated"
            " deployment does not; take it out"
        )
    if changed.hook_timeout > own.hook_timeout:
        raise ConfigurationError(
            f"the environment variable 'FLUJO_HOOK_TIMEOUT' would give plugins {changed.hook_timeout:g} s, and the"
            f" configuration of a regulated deployment {own.hook_timeout:g} s; lower it"
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
