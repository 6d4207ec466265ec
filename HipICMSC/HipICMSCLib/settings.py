"""Settings are frozen dataclasses; this is how they become JSON and come back, checked."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar, Union

from HipICMSCLib.errors import HipError

T = TypeVar("T")


def to_json(settings: Any) -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values."""
    return dataclasses.asdict(settings)


def from_json(cls: type[T], values: dict[str, Any]) -> T:
    """Build ``cls`` from JSON values; fields that are absent keep their defaults.

    Raises:
        HipError: ``bad_setting`` for an unknown name or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise HipError("bad_setting", f"Settings of {cls.__name__} must be an object, not {values!r}.")
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise HipError("bad_setting", f"There is no setting {unknown[0]}; there are {', '.join(sorted(known))}.")
    return cls(**{name: _convert(name, hints[name], value) for name, value in values.items()})


def replaced(settings: T, name: str, value: Any) -> T:
    """A copy with one field changed; ``name`` may reach into a nested dataclass: ``segmenter.width``.

    Raises:
        HipError: ``bad_setting`` as in :func:`from_json`.
    """
    head, _, rest = name.partition(".")
    known = {field.name for field in dataclasses.fields(settings)}
    if head not in known:
        raise HipError("bad_setting", f"There is no setting {head}; there are {', '.join(sorted(known))}.")
    if rest:
        inner = getattr(settings, head)
        if not dataclasses.is_dataclass(inner):
            raise HipError("bad_setting", f"The setting {head} has no parts, so {name} does not exist.")
        return dataclasses.replace(settings, **{head: replaced(inner, rest, value)})
    return dataclasses.replace(settings, **{head: _convert(head, typing.get_type_hints(type(settings))[head], value)})


def _convert(name: str, hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(name, next(h for h in typing.get_args(hint) if h is not type(None)), value)
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value)
    if origin is Literal:
        if value in typing.get_args(hint):
            return value
        raise HipError("bad_setting", f"{name} must be one of {', '.join(map(str, typing.get_args(hint)))}.")
    if origin is tuple:
        kinds = typing.get_args(hint)
        if isinstance(value, list | tuple) and (kinds[-1] is Ellipsis or len(kinds) == len(value)):
            kinds = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
            return tuple(_convert(name, kind, item) for kind, item in zip(kinds, value, strict=True))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise HipError("bad_setting", f"The value {value!r} does not fit the setting {name}.")
