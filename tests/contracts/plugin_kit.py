"""What the tests of plugins are made with: plugins, ``Flujo`` objects that have only these, and deployments of them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from flujo_core import (
    AppInfo,
    AuthorizationRequest,
    Flujo,
    PipelineContext,
    Plugin,
    PluginSettings,
    RunEnd,
    RunStart,
    Settings,
    StepCall,
    StepError,
    StepResult,
    step,
)

ALONE = Settings(PluginSettings(allow=()))
QUICK = 0.1

Proceed = Callable[[], Awaitable[StepResult]]
ProceedRun = Callable[[], Awaitable[RunEnd]]
Mistake = Callable[[], Awaitable[Any]]


class State(PipelineContext):
    log: list[str] = []


@step
async def work(value: int) -> int:
    return value + 1


@step
async def fail(value: int) -> int:
    raise ValueError("CANARY")


def plugin(name: str, **hooks: Any) -> Plugin:
    """A plugin whose hooks are these functions, which take ``self`` first."""
    made: Plugin = type("Made", (Plugin,), {"name": name, **hooks})()
    return made


def insisting(name: str) -> Plugin:
    """A plugin that gives the end of its first run for that of each later one, however that ends."""
    kept: list[RunEnd] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        try:
            kept.append(await proceed())
        finally:
            return kept[0]  # noqa: B012 - just what must not help

    return plugin(name, around_run=around_run)


def alone(
    pipeline: Any, *plugins: Plugin, opened: str = "", quick: bool = False, **keywords: Any
) -> Flujo[Any, Any, Any]:
    """Runs with these plugins only; those that ``opened`` names have the policy ``open``."""
    policies: Any = {name: "open" for name in opened.split()}
    seconds = QUICK if quick else 30.0
    settings = Settings(PluginSettings(allow=(), policies=policies, hook_timeout=seconds))
    made: Flujo[Any, Any, Any] = Flujo(pipeline, plugins=plugins, settings=settings, **keywords)
    return made


class Marking(Plugin):
    """Marks each hook of a run when it is called, and each ``around`` hook when it is left too."""

    name = "marking"

    def __init__(self, marks: list[str]) -> None:
        self.marks = marks

    async def on_startup(self, app: AppInfo, /) -> None:
        self.marks.append("on_startup")

    async def on_shutdown(self) -> None:
        self.marks.append("on_shutdown")

    async def authorize(self, request: AuthorizationRequest, /) -> None:
        self.marks.append(f"authorize {request.action}")

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self.marks.append("on_pipeline_start")

    async def around_run(self, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        self.marks.append("around_run in")
        try:
            return await proceed()
        finally:
            self.marks.append("around_run out")

    async def pre_step_execution(self, call: StepCall, /) -> None:
        self.marks.append("pre_step_execution")

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
        self.marks.append("around_step in")
        try:
            return await proceed()
        finally:
            self.marks.append("around_step out")

    async def on_step_error(self, call: StepCall, error: StepError, /) -> None:
        self.marks.append("on_step_error")

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        self.marks.append("post_step_execution")

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        self.marks.append("on_pipeline_end")


# ------------------------------------------------------------------------------------ deployments

SOUND = """
    from flujo_core import Plugin

    class It(Plugin):
        name = "{name}"
"""


class Done(NamedTuple):
    """What a process came to."""

    code: int
    out: str
    err: str


class Deployment:
    """A folder with a configuration, in which programs run, and one that stands for site-packages.

    Attributes:
        app: The folder with the configuration.
        site: The folder with the distributions.
    """

    def __init__(self, app: Path, site: Path, install: Callable[..., None], record: Callable[..., None]) -> None:
        """Takes the fixtures ``site``, ``install`` and ``record``, and an ``app`` that is not there yet."""
        self.app = app
        self.site = site
        self._install = install
        self._record = record
        app.mkdir()

    def install(
        self,
        distribution: str,
        source: str = SOUND,
        *,
        version: str = "1.5",
        entry: str = "",
        target: str = "",
        recorded: bool = True,
        **more: Any,
    ) -> str:
        """Installs a distribution whose module says when it is imported; gives the module's name.

        Args:
            distribution: Its name, which begins with ``acme-``; the plugin's is the rest of it.
            source: The module, in which ``{name}`` is the plugin's name.
            version: The distribution's.
            entry: The name of its entry point, if it is not the plugin's.
            target: What its entry point leads to, if it is not ``It`` in the module.
            recorded: Whether its RECORD lists more than the metadata.
            **more: As the fixture ``install`` takes it.
        """
        name = distribution.removeprefix("acme-")
        module = distribution.replace("-", "_")
        text = f"open('imported-{distribution}', 'w').close()\n" + textwrap.dedent(source.replace("{name}", name))
        entries = {entry or name: target or f"{module}:It"}
        self._install(distribution, module, text, version=version, **more, **entries)
        if not recorded:
            metadata = self.info(distribution).name
            self.record(distribution, *(path for path in self.recorded(distribution) if path.startswith(metadata)))
        return module

    def info(self, distribution: str) -> Path:
        """The folder with the metadata of a distribution, whatever its version."""
        (found,) = self.site.glob(f"{distribution.replace('-', '_')}-*.dist-info")
        return found

    def record(self, distribution: str, *paths: str) -> None:
        """Writes RECORD anew, with these files as they are now."""
        self._record(self.info(distribution), *paths)

    def recorded(self, distribution: str) -> list[str]:
        """The files that RECORD lists, but for itself."""
        lines = (self.info(distribution) / "RECORD").read_text().splitlines()
        return [line.partition(",")[0] for line in lines if not line.endswith("/RECORD,,")]

    def configure(self, *lines: str, **lists: Any) -> None:
        """Writes the table ``[plugins]`` of the configuration; JSON is near enough to TOML for lists of text."""
        listed = [f"{key} = {json.dumps(value)}" for key, value in lists.items()]
        (self.app / "flujo.toml").write_text("\n".join(["[plugins]", *listed, *lines, ""]))

    def imported(self) -> set[str]:
        """The distributions whose modules have been imported."""
        return {path.name.removeprefix("imported-") for path in self.app.glob("imported-*")}

    def python(self, *arguments: str, cwd: Path | None = None, **environ: str) -> Done:
        home = {"PYTHONPATH": str(self.site), "PATH": "/usr/bin:/bin", "HOME": str(self.app), "COLUMNS": "300"}
        done = subprocess.run(
            [sys.executable, *arguments], env=home | environ, cwd=cwd or self.app, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def flujo(self, *arguments: str, cwd: Path | None = None, **environ: str) -> Done:
        return self.python("-m", "flujo_core.cli", *arguments, cwd=cwd, **environ)

    def doctor(self, *before: str) -> tuple[int, dict[str, dict[str, str]]]:
        """How ``flujo plugins doctor`` ends, and what it says of each distribution."""
        done = self.flujo(*before, "plugins", "doctor", "--json")
        rows = json.loads(done.out)
        return done.code, {row["distribution"]: row for row in rows if row["distribution"].startswith("acme")}
