"""JSON into the documents of `models`.

Strict about what is there: a member that is missing or of another kind is an error, never a guess. Lenient about what is new: the
API grows by addition, so unknown members and unknown words of an enumeration pass.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

#: RFC 3339 in UTC, as the API writes it.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class DecodeError(ValueError):
    """A document is not what the API describes."""


def decode(cls: type[T], value: object) -> T:
    """`value`, as parsed from JSON, as a `cls`."""
    result: T = _object(cls, value, cls.__name__)
    return result


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _object(cls: Any, value: object, path: str) -> Any:
    if not isinstance(value, dict):
        raise DecodeError(f"{path} is no object")
    members = {}
    for name, hint in _hints(cls).items():
        if name not in value:
            raise DecodeError(f"{path}.{name} is missing")
        members[name] = _value(hint, value[name], f"{path}.{name}")
    return cls(**members)


def _value(hint: Any, value: object, path: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
        return _value(inner, value, path)
    if origin is list:
        if not isinstance(value, list):
            raise DecodeError(f"{path} is no list")
        (item,) = typing.get_args(hint)
        return [_value(item, one, f"{path}[{index}]") for index, one in enumerate(value)]
    if origin is typing.Literal:
        hint = str
    if dataclasses.is_dataclass(hint):
        return _object(hint, value, path)
    if hint is datetime:
        return _time(value, path)
    if type(value) is not hint:
        raise DecodeError(f"{path} is no {hint.__name__}")
    return value


def _time(value: object, path: str) -> datetime:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise DecodeError(f"{path} is no time in UTC")
    seconds, fraction = match.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(fraction or '')[:6]:0<6}+00:00")
    except ValueError:
        raise DecodeError(f"{path} is no time in UTC") from None
