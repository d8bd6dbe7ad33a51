"""Pipelines from text: a pipeline as YAML, JSON or plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from flujo_core.agents.document import Document
from flujo_core.errors import DefinitionError, SpecError
from flujo_core.model.flow import Node
from flujo_core.model.import_path import function_of, is_path
from flujo_core.model.spec import spec_of
from flujo_core.model.spec_reader import node_from_spec
from flujo_core.model.spec_schema import FORMAT, schema_of_specs


def pipeline_to_spec(pipeline: Node[Any, Any]) -> dict[str, Any]:
    """A pipeline as plain data, which JSON and YAML can hold; ``pipeline_from_spec`` makes an equal pipeline of it.

    Registered steps, agents and validators are in it by their names; functions, classes and members of enums by their
    import paths, ``module:name``.

    Args:
        pipeline: The pipeline, as its author wrote it.

    Raises:
        DefinitionError: Something in it has no name: a lambda, a function or class made inside a function, an agent
            object. The message names the step, and says what to do.
    """
    return spec_of(pipeline)


def pipeline_from_spec(
    source: str | Path | Mapping[str, Any], *, imports: Sequence[str] = (), describes_agents: bool = True
) -> Node[Any, Any]:
    """The pipeline that a spec says.

    Registered names in it are looked up when a ``Flujo`` is made, as those of a pipeline in code are.

    Args:
        source: YAML or JSON, the path of a file of it, or what is in it.
        imports: The modules, or packages with all that is in them, whose functions, types and agents it may name by
            import path; importing them runs their code. Without any, it can name only what is registered: that is how
            a spec is read that a model or a stranger has written.
        describes_agents: Whether it may describe agents in place, and so ask for any model.

    Raises:
        SpecError: It says what cannot be; the message has the place, and of YAML the line.
        DefinitionError: It cannot be read.
        ConfigurationError: It is YAML, and PyYAML is not installed: it is the extra ``yaml``.
    """
    where = f"the pipeline spec '{source}'" if isinstance(source, Path) else "the pipeline spec"
    names = Imports(imports, describes_agents)
    if isinstance(source, Mapping):
        return node_from_spec(dict(source), names)
    document = Document(source, where, f"format: {FORMAT}")
    try:
        return node_from_spec(document.data, names)
    except SpecError as error:
        line = document.line(error.place)
        said = where if line is None else f"{where}, line {line}"
        raise SpecError(error.reason, error.place, said) from error.__cause__


def pipeline_spec_schema() -> dict[str, Any]:
    """The JSON Schema of pipeline specs, for editors."""
    from flujo_core.agents.spec import agent_spec_schema  # noqa: PLC0415 - it imports pydantic-ai

    return schema_of_specs(agent_spec_schema())


class Imports:
    """What a spec may name: what is in some modules, and agents that it describes.

    Args:
        prefixes: The names of modules; those of packages stand for all that is in them. A dot at the end changes
            nothing: ``acme`` and ``acme.`` are ``acme`` and ``acme.mail``, and not ``acme_tools``.
        describes_agents: Whether it may describe agents in place.
    """

    def __init__(self, prefixes: Sequence[str], describes_agents: bool = True) -> None:
        self._describes_agents = describes_agents
        self._prefixes = [prefix.rstrip(".") for prefix in prefixes]

    def find(self, path: str, /) -> Any:
        """What an import path names.

        Raises:
            LookupError: It may not be imported, or there is no such thing.
        """
        if not is_path(path):
            raise LookupError(f"'{path}' is no import path; write 'module:name'")
        module, _, name = path.partition(":")
        self._check(module, path)
        found = self._imported(module, path)
        for part in name.split("."):
            if part.startswith("__") or not hasattr(found, part):
                raise LookupError(f"module '{module}' has no '{name}'")
            found = getattr(found, part)
            if isinstance(found, ModuleType):
                raise LookupError(f"'{path}' names a module; write 'module:name' of what is in it")
        if (home := _home(found)) is not None:
            self._check(home, path)
        return found

    def agent(self, spec: Mapping[str, Any], /) -> Any:
        """The agent that is described in place.

        Raises:
            DefinitionError: It cannot be, or none may be described.
        """
        if not self._describes_agents:
            raise DefinitionError("an agent is described here, and only registered ones are allowed; give such a name")
        from flujo_core.agents.spec import agent_from_spec  # noqa: PLC0415 - it imports pydantic-ai

        return agent_from_spec(spec)

    def _check(self, module: str, path: str) -> None:
        if any(module == one or module.startswith(f"{one}.") for one in self._prefixes if one):
            return
        if not self._prefixes:
            raise LookupError(
                f"'{path}' is an import path, and none are allowed here; name what a plugin has registered, or allow"
                f" it: 'import_prefixes = [\"{module}\"]' below '[specs]' in flujo.toml, or 'imports=' in code"
            )
        allowed = ", ".join(f"'{one}'" for one in self._prefixes)
        raise LookupError(f"'{path}' is of module '{module}', which is not allowed here; what is, is in {allowed}")

    def _imported(self, module: str, path: str) -> Any:
        try:
            return import_module(module)
        except (Exception, SystemExit) as error:
            raise LookupError(f"'{path}' cannot be imported: it raised {type(error).__name__}") from error


def _home(found: Any) -> str | None:
    """The module that a function or class was defined in; None for any other object."""
    plain = function_of(found)
    if not isinstance(plain, type) and not callable(plain):
        return None
    if not hasattr(plain, "__qualname__"):  # an object that can be called, which belongs to where it stands
        return None
    home: object = getattr(plain, "__module__", None)
    return home if isinstance(home, str) else "builtins"
