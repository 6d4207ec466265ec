"""What a user chose for a training, from what `hipicmsc describe` says can be chosen, and as arguments for `hipicmsc`.

Without torch, because Slicer's own process builds its form from this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from HipICMSCLib.common.errors import HipError

#: Settings that must be those of the model from which a training starts, if the model says them.
PARTS_OF_A_MODEL = ("crop", "intensity", "segmenter", "slab", "slab_unet", "translator")
#: Chosen by an argument of its own.
START_FROM = "start_from"


@dataclass(frozen=True)
class Field:
    """One setting, as settings_description describes it."""

    name: str
    type: Literal["int", "float", "bool", "text", "choice", "numbers"]
    default: Any
    choices: tuple[str, ...] = ()
    optional: bool = False
    help: str = ""

    @property
    def group(self) -> str:
        """The name of the nested dataclass that it is in; empty for one of its own."""
        return self.name.rpartition(".")[0]

    def text_of(self, value: Any) -> str:
        """A value as a person reads and types it."""
        if value is None:
            return ""
        if self.type == "numbers":
            return ", ".join(map(_number_text, value))
        return _number_text(value) if self.type in ("int", "float") else str(value)

    def value_of(self, text: str) -> Any:
        """What a person typed.

        Raises:
            HipError: ``bad_setting``.
        """
        text = text.strip()
        if not text and self.optional:
            return None
        if self.type == "float":
            return self._number(text)
        if self.type == "numbers":
            return self._numbers(text.replace(",", " ").split())
        return text

    def _number(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise HipError("bad_setting", f"{self.name} must be a number such as 0.0002 or 2e-4, not “{text}”.")
        return value

    def _numbers(self, texts: list[str]) -> list[float]:
        values = [self._number(text) for text in texts]
        if not values:
            raise HipError("bad_setting", f"{self.name} needs numbers such as {self.text_of(self.default)}.")
        if all(isinstance(value, int) for value in self.default):
            if any(not value.is_integer() for value in values):
                raise HipError("bad_setting", f"{self.name} needs whole numbers such as {self.text_of(self.default)}.")
            return [int(value) for value in values]
        return values


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        routes: its ways to segment an MRI, best first.
        reads_mr_labels: whether it is trained on labelled MRIs, as no adaptation is.
    """

    title: str
    help: str
    routes: tuple[str, ...]
    reads_mr_labels: bool
    settings: tuple[Field, ...]


@dataclass(frozen=True)
class Description:
    """All that can be chosen.

    Attributes:
        settings: those that all methods share.
        presets: by name the values of the shared settings, by their full names.
    """

    methods: dict[str, Method]
    settings: tuple[Field, ...]
    presets: dict[str, dict[str, Any]]
    devices: tuple[str, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Description:
        """From what `hipicmsc describe` prints.

        Raises:
            HipError: ``bad_description``.
        """
        try:
            return cls(
                {name: _method(about) for name, about in values["methods"].items()},
                _fields(values["settings"]),
                {name: flattened(preset) for name, preset in values["presets"].items()},
                tuple(values["devices"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise HipError("bad_description", "The list of settings cannot be read.", repr(error)) from error

    def fields(self, method: str) -> tuple[Field, ...]:
        """The shared settings and then the method's own."""
        return self.settings + self.methods[method].settings

    def values(self, method: str, preset: str) -> dict[str, Any]:
        """What holds as long as nothing is changed."""
        defaults = {about.name: about.default for about in self.fields(method)}
        return defaults | self.presets[preset]


@dataclass(frozen=True)
class Choices:
    """What the user chose.

    Attributes:
        start_from: a model package, as find_model takes it; empty is none.
        run_name: of the next run; empty lets it be suggested.
        changes: values by the name of the setting, where somebody changed it; some may be those of the preset again.
    """

    method: str = "icmsc"
    preset: str = "cpu-small"
    start_from: str = ""
    run_name: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Choices:
        """Back from :meth:`to_text`; the usual choices if there are none or they cannot be read."""
        try:
            read = cls(**json.loads(text))
        except (ValueError, TypeError):
            return cls()
        fits = all(isinstance(getattr(read, name), type(usual)) for name, usual in asdict(cls()).items())
        return read if fits else cls()

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def changed(self, name: str, value: Any) -> Choices:
        """With a setting changed."""
        return replace(self, changes=self.changes | {name: value})

    def reset(self, name: str) -> Choices:
        """With a setting as the preset has it."""
        return replace(self, changes={other: value for other, value in self.changes.items() if other != name})

    def known_to(self, description: Description) -> Choices:
        """With the usual method or preset in the place of one that this version does not know."""
        usual = Choices()
        method = next(name for name in (self.method, usual.method, *description.methods) if name in description.methods)
        preset = next(name for name in (self.preset, usual.preset, *description.presets) if name in description.presets)
        return replace(self, method=method, preset=preset)

    def deviations(self, description: Description, of_model: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that are not as the preset has them, in the order in which they are described.

        Args:
            of_model: the settings that come from the model to start from, which cannot be changed.
        """
        usual = description.values(self.method, self.preset)
        return {
            name: self.changes[name]
            for name in usual
            if name in self.changes and name not in of_model and self.changes[name] != usual[name]
        }

    def arguments(self, description: Description, of_model: Mapping[str, Any]) -> list[str]:
        """For ``hipicmsc train`` and ``estimate``. Raises nothing: what does not fit, the command says."""
        start = ["--start-from", self.start_from] if self.start_from else []
        deviations = self.deviations(description, of_model)
        assignments = [part for name, value in deviations.items() for part in ("--set", assignment(name, value))]
        return ["--method", self.method, "--preset", self.preset, *start, *assignments]


def choices_of_run(run: Mapping[str, Any], description: Description) -> Choices:
    """The choices that make another run like one.

    Args:
        run: its run.json.

    Raises:
        HipError: ``damaged_run``, or ``unknown_method`` for one of another version.
    """
    try:
        method, settings = run["method"], flattened(run["settings"]) | flattened(run.get("method_settings") or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise HipError("damaged_run", "The settings of this run cannot be read.", repr(error)) from error
    if method not in description.methods:
        raise HipError("unknown_method", f"The method {method} of this run is not part of this version of HipICMSC.")

    def changes(preset: str) -> dict[str, Any]:
        usual = description.values(method, preset)
        return {name: value for name, value in settings.items() if name in usual and value != usual[name]}

    preset = min(description.presets, key=lambda name: len(changes(name)))
    start_from = settings.get(START_FROM) or ""
    changed = {name: value for name, value in changes(preset).items() if name != START_FROM}
    return Choices(method, preset, start_from, "", changed)


def settings_of_model(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a training takes from the model that it starts from, by their full names.

    Args:
        manifest: of the package (model.json).
    """
    return flattened({part: manifest[part] for part in PARTS_OF_A_MODEL if isinstance(manifest.get(part), dict)})


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full names, ``{"segmenter": {"width": 8}}`` as ``{"segmenter.width": 8}``."""
    return dict(_flattened(values, prefix))


def assignment(name: str, value: Any) -> str:
    """As --set takes it: JSON, or the bare word where that is no JSON."""
    if isinstance(value, str) and not _is_json(value):
        return f"{name}={value}"
    return f"{name}={json.dumps(value, separators=(',', ':'))}"


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _method(about: Mapping[str, Any]) -> Method:
    routes, settings = tuple(about["routes"]), _fields(about["settings"])
    return Method(about["title"], about["help"], routes, about["reads_mr_labels"], settings)


def _fields(described: list[dict[str, Any]]) -> tuple[Field, ...]:
    return tuple(Field(**about | {"choices": tuple(about["choices"])}) for about in described)


def _number_text(value: float) -> str:
    """The shortest text from which the very number is read again."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
