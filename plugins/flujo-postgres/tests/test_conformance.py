"""The store keeps the contract of every store."""

import asyncio

import pytest
from flujo_postgres import PostgresStore

from flujo_core.testing.stores import STORE_CHECKS, assert_store_conforms


@pytest.mark.parametrize("check", STORE_CHECKS)
def test_it_conforms(check: str, server) -> None:
    url = server.url()
    asyncio.run(assert_store_conforms(lambda: PostgresStore(url), only=[check], runs=300))
