"""One model for all tests: it is loaded once, as in any process."""

import pytest
from flujo_local_model import LocalModel


@pytest.fixture(scope="session")
def model() -> LocalModel:
    return LocalModel("smollm2", threads=1)  # two threads that share a busy core are slower than one
