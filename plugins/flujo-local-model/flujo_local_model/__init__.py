"""The model ``local:smollm2``, served inside the process; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_local_model.errors import InputTooLong
    from flujo_local_model.model import LocalModel, local_model
    from flujo_local_model.schema import bounded

__all__ = ["InputTooLong", "LocalModel", "bounded", "local_model"]

_HOMES = {"InputTooLong": "errors", "LocalModel": "model", "bounded": "schema", "local_model": "model"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
