"""The plugin keeps the contract of plugins, whatever happens around it."""

from flujo_local_model.plugin import LocalModelPlugin

from flujo_core.testing import assert_conforms


def test_it_conforms() -> None:
    assert assert_conforms(LocalModelPlugin).remarks == ()
