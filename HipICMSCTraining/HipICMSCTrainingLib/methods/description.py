"""What can be set before a training, as plain JSON values from which a panel builds its form without loading torch.

Everything is read from the dataclasses, so that a new method, setting or preset appears by itself.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from typing import Any, Literal, Union

import torch
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.networks.devices import available_devices

from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.method import Method
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings

_PLAIN_TYPES = {bool: "bool", int: "int", float: "float", str: "text"}


def description_of_settings() -> dict[str, Any]:
    """All methods, settings, presets and devices.

    Returns:
        ``methods``: by name ``title``, ``help``, ``routes`` (the ways to segment an MRI, best first),
        ``reads_mr_labels`` (whether it is trained on labelled MRIs, as no adaptation is) and ``settings`` (fields of
        the method alone). ``settings``: fields that all methods share. ``presets``: by name the values of
        the shared settings, nested as in run.json. ``devices``: values that make sense for the setting ``device``.

        A field has ``name`` (as ``--set`` takes it: ``batch_size``, ``segmenter.width``), ``type`` ("int", "float",
        "bool", "text", "choice" or "numbers", a list of numbers), ``default``, ``choices`` (empty unless it is a
        choice), ``optional`` (whether null is a value) and ``help``.
    """
    return {
        "methods": {name: _method(method) for name, method in METHODS.items()},
        "settings": _fields(TrainingSettings()),
        "presets": {name: to_json(settings) for name, settings in PRESETS.items()},
        "devices": ["auto", *available_devices()],
    }


def attribute_docs(cls: type) -> dict[str, str]:
    """The entries below "Attributes:" in the docstrings of a class and of those that it is derived from; one that names
    several attributes is the entry of each."""
    docs: dict[str, str] = {}
    for each in reversed(cls.__mro__[:-1]):
        docs |= _attributes_in(inspect.cleandoc(each.__doc__ or ""))
    return docs


def _attributes_in(docstring: str) -> dict[str, str]:
    _, _, after = docstring.partition("Attributes:\n")
    section = re.split(r"^(?=\S)", after, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.findall(r"^    (\w[\w, ]*):\s+(.*(?:\n     .*)*)", section, re.MULTILINE)
    return {
        name: re.sub(r"\s+", " ", text).replace("``", "").strip()
        for names, text in entries
        for name in names.split(", ")
    }


def _method(method: type[Method]) -> dict[str, Any]:
    own = method.Settings()
    # The ways to segment do not depend on how large the networks are, so the smallest will do.
    built = method(PRESETS["smoke"], own, torch.device("cpu"), Distribution())
    return {
        "title": _first_sentence(sys.modules[method.__module__].__doc__).partition(" (")[0],
        "help": _first_sentence(inspect.getdoc(method)),
        "routes": list(built.routes()),
        "reads_mr_labels": method.reads_mr_labels,
        "settings": _fields(own),
    }


def _first_sentence(docstring: str) -> str:
    return re.split(r"(?<=\.)\s", re.sub(r"\s+", " ", docstring.strip()))[0]


def _fields(settings: Any, prefix: str = "") -> list[dict[str, Any]]:
    """The fields of a dataclass with its values as defaults, those of nested dataclasses in the place of these."""
    hints, docs = typing.get_type_hints(type(settings)), attribute_docs(type(settings))
    described = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            described += _fields(value, f"{prefix}{field.name}.")
        else:
            about = _type(hints[field.name]) | {"default": value, "help": docs.get(field.name, "")}
            described.append({"name": prefix + field.name} | about)
    return described


def _type(hint: Any) -> dict[str, Any]:
    alternatives = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    kind = next(alternative for alternative in alternatives if alternative is not type(None))
    choices = list(typing.get_args(kind)) if typing.get_origin(kind) is Literal else []
    name = "choice" if choices else "numbers" if typing.get_origin(kind) is tuple else _PLAIN_TYPES[kind]
    return {"type": name, "choices": choices, "optional": type(None) in alternatives}
