"""Settings are frozen dataclasses; this is how they become JSON and come back, checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection
from typing import Any, Literal, TypeVar, Union

from HipICMSCLib.common.errors import HipError

T = TypeVar("T")

#: Whole numbers beyond it are none that anybody sets.
_LARGEST_INTEGER = 2**63


def to_json(settings: Any) -> dict[str, Any]:
    """A (nested) dataclass as plain JSON values."""
    return dataclasses.asdict(settings)


def from_json(cls: type[T], values: dict[str, Any], retired: Collection[str] = ()) -> T:
    """Build ``cls`` from JSON values; fields that are absent keep their defaults.

    Args:
        retired: names that an earlier version wrote and that mean nothing any more; they are passed over.

    Raises:
        HipError: ``bad_setting`` for an unknown name or a value of the wrong type, ``missing_setting`` for a field
            that is absent and has no default.
    """
    if not isinstance(values, dict):
        raise HipError("bad_setting", f"Settings of {cls.__name__} must be an object, not {values!r}.")
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    known = {field.name for field in fields}
    values = {name: value for name, value in values.items() if name not in retired}
    unknown = sorted(set(values) - known)
    if unknown:
        raise HipError("bad_setting", f"There is no setting {unknown[0]}; there are {', '.join(sorted(known))}.")
    for field in fields:
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in values and not has_default:
            raise HipError("missing_setting", f"The field {field.name} of {cls.__name__} is missing.")
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
    if hint is Any:
        return value
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
    elif origin is dict:
        if isinstance(value, dict):
            return {key: _convert(name, typing.get_args(hint)[1], item) for key, item in value.items()}
    elif hint in (int, float):
        if _is_number(value) and (hint is float or isinstance(value, int)):
            return hint(value)
    elif isinstance(value, hint):
        return value
    raise HipError("bad_setting", f"The value {value!r} does not fit the setting {name}.")


def _is_number(value: Any) -> bool:
    """Whether it is one that can be set: neither NaN nor infinite, nor whole and beyond all bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _LARGEST_INTEGER if isinstance(value, int) else math.isfinite(value)
