"""What importing the plugin does, in a process of its own: it must be cheap, and do nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any, NamedTuple

from flujo_core.hooks.spec import Plugin
from flujo_core.testing.conformance import probe
from flujo_core.testing.conformance.finding import Finding, Remark
from flujo_core.testing.conformance.subject import Subject

HEAVY = (
    "anthropic", "azure", "boto3", "botocore", "fastapi", "google", "grpc", "httpx", "hvac", "keras", "langchain",
    "matplotlib", "numpy", "onnxruntime", "openai", "opentelemetry", "pandas", "presidio_analyzer",
    "presidio_anonymizer", "pydantic_ai", "requests", "rich", "scipy", "sentence_transformers", "sklearn", "spacy",
    "sqlalchemy", "tensorflow", "torch", "transformers", "typer", "xllamacpp",
)  # fmt: skip
"""Packages that are to be imported when they are used, not when a plugin that may use them is imported."""

PATIENCE = 120.0
"""Seconds that the process may take."""


class Origin(NamedTuple):
    """Where the plugin is imported from.

    Attributes:
        module: The module.
        attribute: The class or the function in it that makes the plugin; None: only the module is imported.
    """

    module: str
    attribute: str | None


class Probed(NamedTuple):
    """What importing the plugin did.

    Attributes:
        printed: Whether something was printed.
        failed: What the process died of, or empty.
        answer: What it said.
    """

    printed: bool
    failed: str
    answer: Mapping[str, Any]


def check_imports(subject: Subject, *, may_import: Sequence[str], seconds: float) -> Iterator[Finding | Remark]:
    """Importing and loading it imports nothing heavy, prints nothing, starts nothing, and takes little time.

    Args:
        subject: The plugin.
        may_import: Heavy packages that it may import all the same.
        seconds: How much processor time it may take, beyond that of the kernel.
    """
    origin = origin_of(subject)
    if origin is None:
        yield Remark(
            "imports",
            "not checked: what makes the plugin stands in a program, a test or a function, not in a module to import",
        )
        return
    probed = _probed(origin)
    if probed.answer.get("found") and probed.answer["seconds"] > seconds:
        probed = _probed(origin)  # the first time, bytecode may have been written
    if not probed.answer.get("found", True):
        yield Remark("imports", f"not checked: there is no module '{origin.module}' for a new process")
        return
    if origin.attribute is None:
        yield Remark("imports", f"only the module '{origin.module}' was imported: no class or function was given")
    for what in _flaws(probed, origin.module, may_import, seconds):
        yield Finding("imports", what)


def origin_of(subject: Subject) -> Origin | None:
    """Where the plugin is imported from, or None."""
    given = subject.given
    maker = type(given) if isinstance(given, Plugin) else given
    if not isinstance(maker, type | FunctionType) or "<" in maker.__qualname__:
        return None
    if maker.__module__ == "__main__" or maker.__module__.rpartition(".")[2].startswith("test_"):
        return None  # a program, or a test: it is not what is shipped
    return Origin(maker.__module__, None if isinstance(given, Plugin) else maker.__qualname__)


def _probed(origin: Origin) -> Probed:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "answer.json"
        asked = {"path": sys.path, "module": origin.module, "attribute": origin.attribute, "answer": str(file)}
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", probe.__file__, json.dumps(asked)],
            capture_output=True, text=True, errors="replace", timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if not file.is_file():
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return Probed(False, last, {})
        return Probed(bool(done.stdout or done.stderr), "", json.loads(file.read_text("utf-8")))


def _flaws(probed: Probed, module: str, may_import: Sequence[str], seconds: float) -> Iterator[str]:
    answer = probed.answer
    if probed.failed or answer["error"]:
        yield f"'{module}' cannot be imported and loaded in a new process: {probed.failed or answer['error']}"
        return
    yield from _heavy_imports(module, answer["modules"], may_import)
    for what, where in dict.fromkeys((what, where) for what, where in answer["done"]):
        yield f"importing '{module}' {what}{_at(where)}; do that in 'on_startup'"
    if probed.printed:
        yield f"importing '{module}' prints; log instead, and not before a hook is called"
    if answer["seconds"] > seconds:
        yield (
            f"importing '{module}' takes {answer['seconds']:.2g} s of processor time, more than {seconds:g} s; import"
            " what is dear where it is used, or give 'import_seconds='"
        )


def _heavy_imports(module: str, modules: Mapping[str, str], may_import: Sequence[str]) -> Iterator[str]:
    by_place: dict[str, list[str]] = {}
    for name, where in modules.items():
        if name in HEAVY and name not in may_import:
            by_place.setdefault(where, []).append(name)
    for where, names in by_place.items():
        told = ", ".join(f"'{name}'" for name in names)
        yield (
            f"importing '{module}' imports {told}{_at(where)}; import it where it is used, register it as"
            f" 'module:attr', or give 'may_import={tuple(names)!r}'"
        )


def _at(where: str) -> str:
    return f" at {where}" if where else ""
