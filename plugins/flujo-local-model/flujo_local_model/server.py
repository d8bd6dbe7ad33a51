"""llama.cpp's server inside this process: started on first use, stopped when the process ends."""

import asyncio
import atexit
import ctypes
import os
import secrets
import threading
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, NamedTuple, Protocol, cast

from flujo_core import ConfigurationError
from flujo_local_model.connections import Connections
from flujo_local_model.weights import Weights

THREADS_VARIABLE: Final = "FLUJO_LOCAL_MODEL_THREADS"
"""The environment variable with the number of threads, for models made without ``threads=``."""

_BATCH: Final = 128  # tokens read in one go; a request can be cancelled only between two of them


class Address(NamedTuple):
    """Where the server listens, and the key it asks for."""

    url: str
    key: str


class _Handle(Protocol):
    """``xllamacpp.Server``: it serves from its making to its deletion, which waits for its threads."""

    @property
    def listening_address(self) -> str: ...

    def handle_metrics(self) -> object: ...


class _Threads(Protocol):
    n_threads: int


class _File(Protocol):
    path: str


class _Parameters(Protocol):
    """``xllamacpp.CommonParams``, as far as it is used here."""

    model: _File
    model_alias: set[str]
    cpuparams: _Threads
    cpuparams_batch: _Threads
    hostnames: list[str]
    api_keys: list[str]
    port: int
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_parallel: int
    n_gpu_layers: int
    cache_prompt: bool
    cache_ram_mib: int
    endpoint_metrics: bool
    endpoint_slots: bool
    ui: bool
    verbosity: int
    warmup: bool


class LocalServer:
    """One model, loaded once and shared by everything in this process; thread-safe.

    A forked child does not use the server of its parent: it starts its own.

    Attributes:
        connections: The client's connections to it; they are cut before it stops, because it waits for them.
    """

    def __init__(self, weights: Weights, threads: int) -> None:
        self.connections = Connections()
        self._weights = weights
        self._threads = threads
        self._lock = threading.Lock()
        self._handle: _Handle | None = None
        self._address: Address | None = None
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    async def start_async(self) -> Address:
        """``start`` in a worker thread, so that an event loop waits for another loop's start without standing still."""
        known = self._address
        return await asyncio.to_thread(self.start) if known is None else known

    def start(self) -> Address:
        """The address of the running server; the first call loads the model, which takes about a second.

        Raises:
            ConfigurationError: The weights are not installed, or llama.cpp cannot load them.
        """
        with self._lock:
            if self._address is None:
                self._handle, self._address = self._load()
            return self._address

    def stop(self) -> None:
        """Break off what is being generated, free the model and the port; a later ``start`` loads it again."""
        with self._lock:
            self.connections.cut()
            self._address = None
            self._handle = None  # the last reference: llama.cpp ends its threads here
            self.connections = Connections()

    def _load(self) -> tuple[_Handle, Address]:
        key = secrets.token_urlsafe(32)
        llama = import_module("xllamacpp")
        parameters = _configured(llama.CommonParams(), self._weights, self._threads, key)
        try:
            handle = cast(_Handle, llama.Server(parameters))
        except RuntimeError as error:
            raise ConfigurationError(
                f"llama.cpp cannot load the weights of 'local:{self._weights.name}'; "
                f"run '{self._weights.install}' again"
            ) from error
        handle.handle_metrics()  # answered by the main loop: a server deleted before its loop runs would never end
        return handle, Address(f"{handle.listening_address}/v1", key)

    def _forget(self) -> None:
        """In a forked child: leave the parent's server alone; its threads are not here, so nothing can end them."""
        if self._handle is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._handle))
        self._handle = self._address = None
        self._lock = threading.Lock()
        self.connections = Connections()


def _configured(parameters: _Parameters, weights: Weights, threads: int, key: str) -> _Parameters:
    parameters.model.path = str(weights.locate())
    parameters.model_alias = {weights.name}
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.hostnames, parameters.port, parameters.api_keys = ["127.0.0.1"], 0, [key]
    parameters.n_ctx, parameters.n_parallel = weights.window, 1
    parameters.n_batch = parameters.n_ubatch = _BATCH
    parameters.n_gpu_layers = 0
    # A prompt taken from the cache is computed in other batches, and may give another reply; and the cache keeps input.
    parameters.cache_prompt, parameters.cache_ram_mib = False, 0
    parameters.endpoint_metrics = True
    parameters.endpoint_slots = parameters.ui = parameters.warmup = False
    parameters.verbosity = -1
    return parameters


def require_engine() -> None:
    """Check that the engine is installed, without importing it.

    Raises:
        ConfigurationError: It is not.
    """
    if find_spec("xllamacpp") is None:
        raise ConfigurationError("local models need the package 'xllamacpp'; run 'pip install xllamacpp'")


def default_threads() -> int:
    """The number in ``FLUJO_LOCAL_MODEL_THREADS``, or one less than the cores this process may use, at least 1.

    The threads wait for each other by spinning: if one has to share its core, with the program's own work, say, all
    get several times slower. A core that is left to others costs less than that.

    Raises:
        ConfigurationError: The variable does not hold a whole number of at least 1.
    """
    text = os.environ.get(THREADS_VARIABLE, "")
    if not text:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, usable - 1)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"the environment variable '{THREADS_VARIABLE}' must be a whole number of at least 1")
    return int(text)


@cache
def shared_server(weights: Weights, threads: int) -> LocalServer:
    """The one server of this process for these weights with so many threads."""
    return LocalServer(weights, threads)
