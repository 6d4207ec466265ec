"""What may be wrong with a JSON text, whatever it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Random = np.random.Generator
#: A list or an object, and the place in it.
_Place = tuple[Any, Any]
#: From sound values to the bytes of a malformed text of them.
Malform = Callable[[Any, Random], bytes]

_OF_OTHER_TYPES: list[Any] = [None, True, False, 0, -1, 1, 3.5, "", "x", [], {}, [[]], {"a": 1}, ["a", 1], "1"]
_NUMBERS: list[Any] = [-1, 0, 2**31, 2**63, 10**30, -(10**30), 1e308, -1e308, 5e-324, 0.5, -0.0]
_TRAVERSAL = ["../../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "C:\\Windows\\x", "\\\\server\\x",
              "file:///etc/passwd", "~/x", "/dev/zero", "$(reboot)", "x" * 5000, "con", "a\nb", "a\x1b[2Jb",
              "\u202e"]  # fmt: skip
_RAW_NUMBERS = [b"1e400", b"-1e400", b"1" * 400, b"9" * 6000, b"NaN", b"Infinity", b"-Infinity", b"1e-400", b"01",
                b"0x10", b"1_0", b"\xd9\xa1"]  # fmt: skip
_RAW_STRINGS = [b'"\\ud800"', b'"\\udc00\\ud800"', b'"a\\u0000b"', b'"\\u202e"', b'"\x01"', b'"\\x41"', b'"\xff\xfe"',
                b'"' + b"\\u0000" * 300 + b'"']  # fmt: skip
_MARK = "0b7e1f60-mark"


def _dumped(values: Any) -> bytes:
    return json.dumps(values).encode()


def _places(values: Any) -> Iterator[_Place]:
    """All places of a value within others."""
    inside = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inside:
        yield values, key
        yield from _places(value)


def _at_random(values: Any, rng: Random, kinds: type | tuple = object) -> tuple[Any, _Place | None]:
    """A copy, and a place in it that holds a value of some kind."""
    values = copy.deepcopy(values)
    places = [place for place in _places(values) if isinstance(place[0][place[1]], kinds)]
    return values, places[int(rng.integers(len(places)))] if places else None


def _set(value: Callable[[Random], Any], kinds: type | tuple = object) -> Malform:
    """One value replaced."""

    def malform(values: Any, rng: Random) -> bytes:
        values, place = _at_random(values, rng, kinds)
        if place is None:
            return b"[]"
        place[0][place[1]] = value(rng)
        return _dumped(values)

    return malform


def _raw(texts: list[bytes], kinds: type | tuple = object) -> Malform:
    """One value replaced by a text that Python would not write."""

    def malform(values: Any, rng: Random) -> bytes:
        marked = _set(lambda rng: _MARK, kinds)(values, rng)
        return marked.replace(b'"' + _MARK.encode() + b'"', texts[int(rng.integers(len(texts)))])

    return malform


def _one_of(values: list) -> Callable[[Random], Any]:
    return lambda rng: values[int(rng.integers(len(values)))]


def _without_key(values: Any, rng: Random) -> bytes:
    values = copy.deepcopy(values)
    places = [place for place in _places(values) if isinstance(place[0], dict)]
    inside, key = places[int(rng.integers(len(places)))]
    del inside[key]
    return _dumped(values)


def _with_key(values: Any, rng: Random) -> bytes:
    values, place = _at_random([values], rng, dict)
    name = str(rng.choice(["colour", "__class__", "", "cases", "é", "x" * 1000, "a\nb"]))
    place[0][place[1]][name] = _one_of(_OF_OTHER_TYPES)(rng)
    return _dumped(values[0])


def _key_twice(values: Any, rng: Random) -> bytes:
    """A key stands twice, with another value the second time: JSON takes the last."""
    values, place = _at_random([values], rng, dict)
    inside = place[0][place[1]]
    if not inside:
        return _dumped(values[0])
    key = list(inside)[int(rng.integers(len(inside)))]
    text = _dumped(values[0])
    again = f"{json.dumps(key)}: {json.dumps(_one_of(_OF_OTHER_TYPES)(rng))}, ".encode()
    place_of_key = text.index(_dumped(key))
    return text[:place_of_key] + again + text[place_of_key:]


def _bytes(values: Any, rng: Random) -> bytes:
    changed = bytearray(_dumped(values))
    for place in rng.integers(0, len(changed), int(rng.integers(1, 6))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def _characters(values: Any, rng: Random) -> bytes:
    changed = bytearray(_dumped(values))
    for place in rng.integers(0, len(changed), int(rng.integers(1, 4))):
        changed[place] = rng.choice(list(b'{}[]",:0123456789.-eE \\/antrufls'))
    return bytes(changed)


def _cut(values: Any, rng: Random) -> bytes:
    data = _dumped(values)
    return data[: int(rng.integers(len(data)))]


def _something_else(values: Any, rng: Random) -> bytes:
    return _one_of([b"", b" ", b"\n", b"null", b"[]", b"{}", b"0", b'"x"', b"true", b"\0" * 100, b"\x1f\x8b\x08",
                    b"<xml/>", b"{'a': 1}", b"[1, 2,]", b"// x", rng.bytes(300), b"PK\x03\x04",
                    b"NaN"])(rng)  # fmt: skip


def _nested(values: Any, rng: Random) -> bytes:
    opened, closed = [(b"[", b"]"), (b'{"a":', b"}")][int(rng.integers(2))]
    depth = int(rng.choice([100, 990, 5000, 200_000]))
    deep = opened * depth + b"1" + closed * int(rng.choice([0, depth]))
    return deep if rng.random() < 0.3 else _raw([deep])(values, rng)


def _encoded(values: Any, rng: Random) -> bytes:
    text = json.dumps(values, ensure_ascii=False)
    return text.encode(str(rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"])))


def _with_mark(values: Any, rng: Random) -> bytes:
    """As Windows's Notepad writes UTF-8."""
    return b"\xef\xbb\xbf" + _dumped(values)


def _followed(values: Any, rng: Random) -> bytes:
    return _dumped(values) + _one_of([b"{}", b"x", b"\0", b"]", b"\n\n\n", b",", b"\xff"])(rng)


def _long(values: Any, rng: Random) -> bytes:
    return _raw([b'"' + b"x" * 50_000_000 + b'"'], (str, int, float))(values, rng)


def _many(values: Any, rng: Random) -> bytes:
    """A list with many times what it has, or a hundred thousand numbers."""
    values, place = _at_random(values, rng, list)
    if place is None:
        return b"[]"
    items = place[0][place[1]]
    place[0][place[1]] = items * (20_000 // max(1, len(items))) if rng.random() < 0.5 else list(range(100_000))
    return _dumped(values)


MALFORMED: dict[str, Malform] = {
    "bytes": _bytes,
    "characters": _characters,
    "cut off": _cut,
    "something else": _something_else,
    "another type": _set(_one_of(_OF_OTHER_TYPES)),
    "odd number": _set(_one_of(_NUMBERS), (int, float)),
    "number that is none": _raw(_RAW_NUMBERS, (int, float)),
    "odd text": _raw(_RAW_STRINGS, str),
    "path to elsewhere": _set(_one_of(_TRAVERSAL), str),
    "key missing": _without_key,
    "key unknown": _with_key,
    "key twice": _key_twice,
    "nested deeply": _nested,
    "another encoding": _encoded,
    "byte order mark": _with_mark,
    "followed by more": _followed,
    "many items": _many,
}
#: They take time, so there are few of them.
LONG: dict[str, Malform] = {"50 MB of text": _long}
