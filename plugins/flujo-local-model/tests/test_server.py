"""The server's life: one for the process, silent, shut with it, also in the middle of a reply."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent

import httpx2
import pytest
from flujo_local_model import LocalModel
from flujo_local_model.server import LocalServer, shared_server
from flujo_local_model.weights import weights_of

_ASK = """
    import asyncio, sys, threading
    from pydantic_ai import Agent
    from flujo_local_model import LocalModel
    from flujo_local_model.server import default_threads, shared_server
    from flujo_local_model.weights import weights_of

    model = LocalModel("smollm2", settings={"max_tokens": 3000, "extra_body": {"ignore_eos": True}})
    print(shared_server(weights_of("smollm2"), default_threads()).start().url, flush=True)
    async def ask(**settings):
        async with Agent(model).run_stream("Tell me a story.", model_settings=settings) as reply:
            async for _ in reply.stream_text(debounce_by=None):
                print("token", flush=True)
"""


@pytest.fixture(scope="module")
def server() -> LocalServer:
    return shared_server(weights_of("smollm2"), 1)


def test_there_is_one_for_all_models(model: LocalModel, server: LocalServer) -> None:
    assert server.start() == server.start()
    assert shared_server(weights_of("smollm2"), 1) is server


def test_it_listens_on_loopback_and_asks_for_its_key(server: LocalServer) -> None:
    address = server.start()
    assert address.url.startswith("http://127.0.0.1:")
    with httpx2.Client(trust_env=False) as client:
        assert client.get(f"{address.url}/models").status_code == 401
        assert client.get(f"{address.url}/models", headers={"Authorization": f"Bearer {address.key}"}).is_success


def test_a_proxy_of_the_world_is_not_asked(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    child = _child(_ASK + "    asyncio.run(ask(max_tokens=2))")
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")


@pytest.mark.parametrize("ending", ["", "    raise SystemExit(0)"])
def test_a_process_that_ends_is_silent_and_quick(ending: str) -> None:
    child = _child(_ASK + "    asyncio.run(ask(max_tokens=3))\n" + ending)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")
    assert set(out.split()[1:]) == {"token"}


def test_a_reply_in_another_thread_does_not_hold_up_the_end() -> None:
    code = """
    threading.Thread(target=lambda: asyncio.run(ask()), daemon=True).start()
    sys.stdin.readline()
    """
    with _talking(_ASK + code) as (child, port):
        child.communicate("\n", timeout=8)
        assert child.returncode == 0
        assert not _listens(port)


def test_control_c_ends_it_in_the_middle_of_a_reply() -> None:
    with _talking(_ASK + "    asyncio.run(ask())") as (child, port):
        assert _children(child.pid) == []
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=8)
        assert child.returncode == -signal.SIGINT
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert time.monotonic() - started < 5
        assert not _listens(port)


def test_stopping_it_frees_the_port_and_starting_it_works_again() -> None:
    server = LocalServer(weights_of("smollm2"), 1)
    first = server.start()
    server.stop()
    assert not _listens(int(first.url.split(":")[2].removesuffix("/v1")))
    assert server.start() != first
    server.stop()


def test_stopping_it_at_once_ends() -> None:
    code = "    server = shared_server(weights_of('smollm2'), 1)\n    for _ in range(5): server.start(); server.stop()"
    child = _child(_ASK + code)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_a_server_of_its_own() -> None:
    code = """
    import os
    parent = shared_server(weights_of("smollm2"), default_threads())
    child = os.fork()
    if child == 0:
        print(parent.start().url, flush=True)
        asyncio.run(ask(max_tokens=2))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    asyncio.run(ask(max_tokens=2))
    """
    child = _child(_ASK + code)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, "")
    words = out.split()
    addresses = [word for word in words if word.startswith("http")]
    assert len(set(addresses)) == 2
    assert "0" in words
    assert words[-1] == "token"


def _child(code: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-W", "error", "-c", dedent(code)], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _talking(code: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A child in the middle of a reply, and the port of its server."""
    with _child(code) as child:
        assert child.stdout is not None
        try:
            url = child.stdout.readline()
            assert child.stdout.readline() == "token\n"
            yield child, int(url.split(":")[2].removesuffix("/v1\n"))
        finally:
            child.kill()


def _children(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return children.read().split()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
