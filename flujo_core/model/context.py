"""PipelineContext, the state that the steps of a run share.

It is the only module of the model that makes a pydantic model class, which is dear: it is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from flujo_core.errors import DefinitionError
from flujo_core.model.draft import ContextBase, loaded, own, source


class PipelineContext(BaseModel, ContextBase):
    """The state that the steps of a run share; subclass it and declare fields.

    Every field must have a default or be given to the run. A step sees a draft: what it sets is committed with
    its output, or not at all. ``repr()`` shows the names of the fields only.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)
    __slots__ = ("_read_from",)  # the state behind a draft

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.__private_attributes__:
            names = ", ".join(f"'{name}'" for name in cls.__private_attributes__)
            raise DefinitionError(
                f"context '{cls.__name__}' has private attributes ({names}), which could not be committed;"
                " declare fields instead"
            )

    if not TYPE_CHECKING:  # pydantic hides its own from type checkers too, so that a misspelt field is found

        def __getattr__(self, name: str) -> Any:
            fields = type(self).__pydantic_fields__
            if name in fields and (state := source(self)) is not None and name in state:
                value = self.__dict__[name] = own(state[name])
                return value
            return super().__getattr__(name)

    @model_serializer(mode="wrap")
    def _serialize_whole(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        whole: dict[str, Any] = handler(loaded(self))
        return whole

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PipelineContext):
            loaded(other)
        return super(PipelineContext, loaded(self)).__eq__(other)

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        return super(PipelineContext, loaded(self)).__iter__()

    def __copy__(self) -> Any:
        return type(self).model_construct(**{name: getattr(self, name) for name in type(self).model_fields})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return type(self).model_construct(
            **{name: deepcopy(getattr(self, name), memo) for name in type(self).model_fields}
        )

    def __getstate__(self) -> dict[Any, Any]:
        return super(PipelineContext, loaded(self)).__getstate__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}=...' for name in type(self).model_fields)})"

    __str__ = __repr__
