"""Run folders as somebody who means harm, or whose disk failed, would make them out of a sound one.

The sound one is a run that was stopped before its last steps, so that it can be resumed. What must come of a hostile
copy, `try_run` finds out by doing all that is done with a run: watching it as the panel does, making a package of its
weights, and resuming it.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malformed.case import Case, Maker
from malformed.model_packages import (
    Expected,
    Hostile,
    Outcome,
    Trap,
    area_of,
    is_sentence,
    safetensors,
    shared_folder,
    tensors_of,
    watched,
)

if TYPE_CHECKING:
    from tiny_training import TinyData

#: A picture of so many pixels a side is a few kilobytes of file and gigabytes of memory.
_SIDE = 60_000


class RunMaker:
    """Makes hostile copies of a run.

    Args:
        good: the run, whose cache lies in it; no process works on it.
        folder: where the copies go, each into a folder of its own.
    """

    def __init__(self, good: Path, folder: Path) -> None:
        self.good, self.folder = good, folder
        self._count = 0

    @property
    def kinds(self) -> list[str]:
        return list(RECIPES)

    def make(self, kind: str, random: np.random.Generator) -> Hostile:
        self._count += 1
        place = self.folder / f"{self._count:05d}"
        self.victim, self.run, self.random = place / "was run", place / "run", random
        shutil.copytree(self.good, self.run)
        expected, recipe = RECIPES[kind]
        recipe(self)
        return Hostile(kind, self.run, expected, self.victim)

    # What recipes are made of.

    @property
    def checkpoint(self) -> Path:
        return self.run / "checkpoints" / "last.pt"

    @property
    def selected(self) -> Path:
        return self.run / "checkpoints" / "selected.safetensors"

    def one_of(self, *values: Any) -> Any:
        return values[int(self.random.integers(len(values)))]

    def write(self, name: str, data: bytes | str) -> None:
        (self.run / name).write_bytes(data.encode() if isinstance(data, str) else data)

    def change_json(self, name: str, change: Callable[[Any], Any]) -> None:
        """Change what a JSON file holds in place, or into what ``change`` gives."""
        values = json.loads((self.run / name).read_text())
        changed = change(values)
        self.write(name, json.dumps(values if changed is None else changed))

    def set(self, name: str, value: Any) -> None:
        """A setting in run.json; ``segmenter.width`` is one within another."""

        def change(description: dict[str, Any]) -> None:
            inner = description["settings"]
            *outer, last = name.split(".")
            for part in outer:
                inner = inner[part]
            inner[last] = value

        self.change_json("run.json", change)

    def change_case(self, **changes: Any) -> None:
        """Fields of the first case that the training reads."""
        self.change_json("run.json", lambda values: values["dataset"]["cases"][0].update(changes))

    def change_state(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the checkpoint in place, or into what ``change`` gives."""
        import torch

        state = torch.load(self.checkpoint, weights_only=True)
        changed = change(state)
        torch.save(state if changed is None else changed, self.checkpoint)

    def flip(self, name: str, times: int = 1) -> None:
        altered = bytearray((self.run / name).read_bytes())
        for _ in range(times):
            altered[int(self.random.integers(len(altered)))] ^= 1 << int(self.random.integers(8))
        self.write(name, bytes(altered))

    def cut(self, name: str) -> None:
        data = (self.run / name).read_bytes()
        self.write(name, data[: int(self.random.integers(len(data)))])

    def pipe(self, name: str) -> None:
        (self.run / name).unlink(missing_ok=True)
        os.mkfifo(self.run / name)

    def link(self, name: str) -> None:
        """A link to a place beside the run, where nothing may ever be written; a file there is the user's."""
        place, outside = self.run / name, self.run.parent / "outside"
        if place.is_dir():
            shutil.rmtree(place)
            outside.mkdir()
        else:
            place.unlink(missing_ok=True)
            outside.write_text("mine")
        place.symlink_to(outside)

    def trap(self) -> dict[str, Any]:
        return {"step": 1, "networks": Trap(self.victim)}


def _packed_checkpoint(maker: RunMaker) -> None:
    """Every part of it packed; one more of many megabytes takes nothing on the disk."""
    with zipfile.ZipFile(maker.checkpoint) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(maker.checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
        archive.writestr("archive/data/999999", bytes(50 * 2**20))


def _claimed_storage(maker: RunMaker) -> None:
    """A checkpoint whose tensor is said to have more numbers than there are bytes."""
    import torch

    file = io.BytesIO()
    torch.save({"step": torch.zeros(4)}, file)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    many = b"J" + struct.pack("<i", 2**30)
    with zipfile.ZipFile(maker.checkpoint, "w") as archive:
        for name, data in parts.items():
            if name.endswith("data.pkl"):
                data = data.replace(b"K\x04t", many + b"t").replace(b"K\x04\x85", many + b"\x85")
            archive.writestr(name, data)


def _first(values: dict[str, Any]) -> str:
    return next(iter(values))


def _first_weight(state: dict[str, Any]) -> tuple[dict[str, Any], str]:
    network = state["networks"][_first(state["networks"])]
    return network, _first(network)


def _huge_moments(state: dict[str, Any]) -> None:
    """A tensor of 40 GB that stands on 4 bytes."""
    import torch

    moments = state["optimizers"][_first(state["optimizers"])]["state"]
    moments[_first(moments)]["exp_avg"] = torch.zeros(1).expand(10**10)


def _moments_of_another_shape(state: dict[str, Any]) -> None:
    import torch

    moments = state["optimizers"][_first(state["optimizers"])]["state"]
    moments[_first(moments)]["exp_avg"] = torch.zeros(3)


def _weight(value: Callable[[Any], Any]) -> Callable[[RunMaker], None]:
    """One weight of the checkpoint changed."""

    def change(state: dict[str, Any]) -> None:
        network, name = _first_weight(state)
        network[name] = value(network[name])

    return lambda maker: maker.change_state(change)


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _in_itself(state: dict[str, Any]) -> None:
    state["extra"]["again"] = state["extra"]


def _pool_of(*shape: int) -> Callable[[RunMaker], None]:
    """Slices of another size in the memory of the discriminators."""

    def change(state: dict[str, Any]) -> None:
        import torch

        state["extra"][_first(state["extra"])] = [torch.zeros(shape)] * 2

    return lambda maker: maker.change_state(change)


def _other_selected(change: Callable[[dict[str, Any], bytes], bytes]) -> Callable[[RunMaker], None]:
    def alter(maker: RunMaker) -> None:
        maker.selected.write_bytes(change(*tensors_of(maker.selected.read_bytes())))

    return alter


def _absurd_selected(header: dict[str, Any], data: bytes) -> bytes:
    name = next(name for name in header if name != "__metadata__")
    header[name]["shape"] = [10**15]
    return safetensors(header, data)


def _selected_of_another_shape(header: dict[str, Any], data: bytes) -> bytes:
    name = next(name for name in header if len(header[name].get("shape", ())) > 1)
    header[name]["shape"] = [math.prod(header[name]["shape"])]
    return safetensors(header, data)


def _said_of_selected(**said: Any) -> Callable[[RunMaker], None]:
    def change(header: dict[str, Any], data: bytes) -> bytes:
        header["__metadata__"]["about"] = json.dumps(json.loads(header["__metadata__"]["about"]) | said)
        return safetensors(header, data)

    return _other_selected(change)


def _every_cache(change: Callable[[Path, RunMaker], None]) -> Callable[[RunMaker], None]:
    def alter(maker: RunMaker) -> None:
        for file in list((maker.run / "cache").iterdir()):
            change(file, maker)

    return alter


def _slices_without_numbers(file: Path, maker: RunMaker) -> None:
    header, data = tensors_of(file.read_bytes())
    first, last = header["slices"]["data_offsets"]
    file.write_bytes(safetensors(header, data[:first] + b"\x00\x7e" * ((last - first) // 2) + data[last:]))


def _slices_of_another_size(file: Path, maker: RunMaker) -> None:
    header, data = tensors_of(file.read_bytes())
    for entry in header.values():
        if len(entry.get("shape", ())) == 3:
            entry["shape"][1:] = entry["shape"][:0:-1]
    file.write_bytes(safetensors(header, data))


def _traps_as_cache(file: Path, maker: RunMaker) -> None:
    file.write_bytes(pickle.dumps(maker.trap()))


def _picture_of(width: int, height: int) -> bytes:
    """A black PNG of which only the first rows are there; whoever reads it makes room for all of them."""
    data = zlib.compress(bytes(100 * (1 + width // 8)))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">2L5B", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _line_of_metrics(**values: Any) -> Callable[[RunMaker], None]:
    usual = {"step": 4, "stage": 1, "losses": {"rec_s": 1.0}, "learning_rates": {"G": 1e-4}, "seconds": 0.1}

    def add(maker: RunMaker) -> None:
        with open(maker.run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(usual | values) + "\n")

    return add


def _first_line(text: bytes) -> Callable[[RunMaker], None]:
    def add(maker: RunMaker) -> None:
        maker.write("metrics.jsonl", text + b"\n" + (maker.run / "metrics.jsonl").read_bytes())

    return add


def _status(**values: Any) -> Callable[[RunMaker], None]:
    return lambda maker: maker.change_json("status.json", lambda said: said.update(values))


def _settings(name: str, *values: Any) -> Callable[[RunMaker], None]:
    return lambda maker: maker.set(name, maker.one_of(*values))


def _case(**changes: Any) -> Callable[[RunMaker], None]:
    return lambda maker: maker.change_case(**changes)


def _huge_log(maker: RunMaker) -> None:
    maker.write("train.log", "x")
    os.truncate(maker.run / "train.log", 300 * 2**30)


def _start_from(maker: RunMaker) -> None:
    """A pickle in place of the model to start from, and no checkpoint that would make it needless."""
    trap = maker.run / "start.hipmodel"
    trap.write_bytes(pickle.dumps(maker.trap()))
    maker.set("start_from", str(trap))
    maker.checkpoint.unlink()
    maker.selected.unlink()


def _case_from_a_pipe(maker: RunMaker) -> None:
    maker.pipe("image.nii.gz")
    maker.change_case(image=str(maker.run / "image.nii.gz"))


_COMMANDS = "\x1b]0;owned\x07\x1b[2J\x9b31m \u202e desrever \x00<img src='file:///etc/hostname'>"

#: By kind: what must come of it, and how the copy of the run becomes it.
RECIPES: dict[str, tuple[Expected, Callable[[RunMaker], Any]]] = {
    # The checkpoint.
    "checkpoint: bare pickle": ("refused", lambda m: m.checkpoint.write_bytes(pickle.dumps(m.trap()))),
    "checkpoint: PyTorch's pickle": ("refused", lambda m: m.change_state(lambda state: m.trap())),
    "checkpoint: pickle within": (
        "refused",
        lambda m: m.change_state(lambda state: state["extra"].update(more=Trap(m.victim))),
    ),
    "checkpoint: packed": ("refused", _packed_checkpoint),
    "checkpoint: claims more than it has": ("refused", _claimed_storage),
    "checkpoint: cut off": ("refused", lambda m: m.cut("checkpoints/last.pt")),
    "checkpoint: bits": ("either", lambda m: m.flip("checkpoints/last.pt", 30)),
    "checkpoint: empty": ("refused", lambda m: m.checkpoint.write_bytes(b"")),
    "checkpoint: of 300 gigabytes": ("refused", lambda m: os.truncate(m.checkpoint, 300 * 2**30)),
    "checkpoint: a list": ("refused", lambda m: m.change_state(lambda state: [state])),
    "checkpoint: a part missing": (
        "refused",
        lambda m: m.change_state(lambda state: _without(state, m.one_of("step", "networks", "optimizers", "extra"))),
    ),
    "checkpoint: a network missing": (
        "refused",
        lambda m: m.change_state(lambda state: {**state, "networks": {}, "average": {}}),
    ),
    "checkpoint: step": (
        "refused",
        lambda m: m.change_state(lambda state: {**state, "step": m.one_of(-1, 10**12, "4", None, 1.5, True)}),
    ),
    "checkpoint: moments of 40 gigabytes": ("refused", lambda m: m.change_state(_huge_moments)),
    "checkpoint: moments of another shape": ("refused", lambda m: m.change_state(_moments_of_another_shape)),
    "checkpoint: weights of another shape": ("refused", _weight(lambda weight: weight.flatten())),
    "checkpoint: weights that stand on one number": (
        "refused",
        _weight(lambda weight: weight.flatten()[:1].clone().expand(weight.numel()).view(weight.shape)),
    ),
    "checkpoint: weights without numbers": ("refused", _weight(lambda weight: weight * math.nan)),
    "checkpoint: infinite weights": ("refused", _weight(lambda weight: weight + math.inf)),
    "checkpoint: a text for weights": ("refused", _weight(lambda weight: "os.system")),
    "checkpoint: slices of another size": ("refused", _pool_of(1, 3000, 3000)),
    "checkpoint: slices of no size": ("refused", _pool_of(1, 2**40, 0)),
    "checkpoint: texts in the method's state": (
        "refused",
        lambda m: m.change_state(lambda state: state["extra"].update({_first(state["extra"]): ["x"]})),
    ),
    "checkpoint: holds itself": ("either", lambda m: m.change_state(_in_itself)),
    # The selected weights.
    "selected: pickle": ("refused", lambda m: m.selected.write_bytes(pickle.dumps(m.trap()))),
    "selected: cut off": ("refused", lambda m: m.cut("checkpoints/selected.safetensors")),
    "selected: absurd shape": ("refused", _other_selected(_absurd_selected)),
    "selected: other shape": ("refused", _other_selected(_selected_of_another_shape)),
    "selected: header longer than the file": (
        "refused",
        _other_selected(lambda header, data: safetensors(header, data, 2**60)),
    ),
    "selected: without numbers": ("refused", _other_selected(lambda h, d: safetensors(h, b"\xff" * len(d)))),
    "selected: scores": ("refused", _said_of_selected(scores={"selection": "__import__('os')"})),
    "selected: ten thousand scores": ("refused", _said_of_selected(scores={f"n{n}": 0.5 for n in range(10_000)})),
    "selected: step": ("refused", _said_of_selected(step=-(10**400))),
    # run.json.
    "run.json: cut off": ("refused", lambda m: m.cut("run.json")),
    "run.json: bits": ("either", lambda m: m.flip("run.json", 3)),
    "run.json: no object": ("refused", lambda m: m.write("run.json", m.one_of("[]", "7", '"x"', "null", ""))),
    "run.json: nested": ("refused", lambda m: m.write("run.json", '{"settings":' * 50_000)),
    "run.json: of 300 gigabytes": ("refused", lambda m: os.truncate(m.run / "run.json", 300 * 2**30)),
    "run.json: a part missing": (
        "refused",
        lambda m: m.change_json("run.json", lambda v: _without(v, m.one_of("method", "settings", "dataset"))),
    ),
    "run.json: method": (
        "refused",
        lambda m: m.change_json("run.json", lambda v: v.update(method=m.one_of("os.system", ["icmsc"], None, 3))),
    ),
    "run.json: versions": (
        "right",
        lambda m: m.change_json("run.json", lambda v: v.update(versions=m.one_of([], 7, {}))),
    ),
    "run.json: command": ("right", lambda m: m.change_json("run.json", lambda v: v.update(command=["; rm -r /"]))),
    "run.json: width": ("refused", _settings("segmenter.width", 10**6, -1, 0, 10**30, "8", None)),
    "run.json: blocks": ("refused", _settings("translator.blocks", 10**6, -1)),
    "run.json: crop": ("refused", _settings("crop.size", [10**9] * 3, [-32, 16, 24], [32, 16], "32")),
    "run.json: batch": ("refused", _settings("batch_size", 10**9, 0, -1, 2.5)),
    "run.json: epochs": ("refused", _settings("stage2_epochs", 10**12, -1)),
    "run.json: steps": ("refused", _settings("steps_per_epoch", 10**12, 0, -1)),
    "run.json: slices for scores": ("refused", _settings("validation_slices", 0, -1, 10**9)),
    "run.json: device": ("refused", _settings("device", "cuda:99999", "disk", "meta", "../x")),
    "run.json: another architecture": ("refused", _settings("segmenter.width", 16)),
    "run.json: case is a path": ("right", _case(name="../../../outside")),
    "run.json: case commands a terminal": ("right", _case(name=_COMMANDS.replace("/", ""))),
    "run.json: case of 10,000 letters": ("right", _case(name="x" * 10_000)),
    "run.json: image is an endless device": ("refused", _case(image="/dev/zero")),
    "run.json: image is a pipe": ("refused", _case_from_a_pipe),
    "run.json: image is a file of the system": ("refused", _case(image="/etc/passwd")),
    "run.json: image is gone": ("refused", _case(image="/nowhere/image.nii.gz")),
    "run.json: starts from a pickle": ("refused", _start_from),
    # What is watched.
    "status: bits": ("either", lambda m: m.flip("status.json", 3)),
    "status: numbers": ("right", _status(step=10**30, total_steps=1, seconds_left=1e308, heartbeat=-1e308)),
    "status: texts for numbers": ("right", _status(step="<b>4</b>", total_steps=[], seconds_left="long", pid=None)),
    "status: state": ("right", _status(state="owned")),
    "status: commands": ("right", _status(sentence=_COMMANDS, phase=_COMMANDS, machine=_COMMANDS)),
    "status: nested": ("right", lambda m: m.write("status.json", "[" * 10**6)),
    "status: of 300 gigabytes": ("right", lambda m: os.truncate(m.run / "status.json", 300 * 2**30)),
    "metrics: bits": ("either", lambda m: m.flip("metrics.jsonl", 5)),
    "metrics: a line of 20 megabytes": ("right", lambda m: _first_line(b'{"step": "' + b"x" * 20 * 2**20 + b'"}')(m)),
    "metrics: a nested line": ("right", _first_line(b"[" * 10**6)),
    "metrics: no text": ("right", _first_line(bytes(range(256)) * 100)),
    "metrics: numbers": ("right", _line_of_metrics(step=10**30, losses={"rec_s": 10**400})),
    "metrics: texts for numbers": ("right", _line_of_metrics(step="4", losses="rec_s", learning_rates=[1])),
    "metrics: other names": (
        "right",
        _line_of_metrics(losses={_COMMANDS: 1.0}, scores={"foreground_x": 1.0}, weights=["last"]),
    ),
    "metrics: a thousand names": ("right", _line_of_metrics(losses={f"loss{n}": 1.0 for n in range(1000)})),
    "metrics: of 300 gigabytes": ("refused", lambda m: os.truncate(m.run / "metrics.jsonl", 300 * 2**30)),
    "log: commands": ("right", lambda m: m.write("train.log", (_COMMANDS + "\n") * 1000)),
    "log: a line of 50 megabytes": ("right", lambda m: m.write("train.log", b"\xff" * (50 * 2**20))),
    "log: of 300 gigabytes": ("right", _huge_log),
    "previews: no pictures": ("right", lambda m: m.write("previews/step_0000009.png", "<svg><script/></svg>")),
    "previews: a bomb": ("right", lambda m: m.write("previews/step_0000009.png", _picture_of(_SIDE, _SIDE))),
    "about: no object": ("refused", lambda m: m.write("about.json", m.one_of("[1]", "7", "", "[" * 10**6, "{"))),
    # The cache.
    "cache: pickles": ("right", _every_cache(_traps_as_cache)),
    "cache: cut off": ("right", _every_cache(lambda file, m: m.cut(f"cache/{file.name}"))),
    "cache: bits": ("either", _every_cache(lambda file, m: m.flip(f"cache/{file.name}", 5))),
    "cache: without numbers": ("right", _every_cache(_slices_without_numbers)),
    "cache: of another size": ("right", _every_cache(_slices_of_another_size)),
    # Pipes, which would be waited for for ever, and links, through which a training would write elsewhere.
    **{f"pipe: {name}": (expected, lambda m, name=name: m.pipe(name)) for name, expected in {
        "run.json": "refused", "status.json": "right", "metrics.jsonl": "refused", "train.log": "refused",
        "about.json": "refused", "lock": "refused", "previews/step_0000009.png": "right",
        "checkpoints/last.pt": "refused", "checkpoints/selected.safetensors": "refused",
    }.items()},
    **{f"link: {name}": ("refused", lambda m, name=name: m.link(name)) for name in (
        "metrics.jsonl", "train.log", "lock", "status.json", "cache", "checkpoints", "previews", "checkpoints/last.pt",
    )},
}  # fmt: skip


def try_run(hostile: Hostile, only_watch: bool = False) -> Outcome:
    """Do all that is done with a run; it counts as refused if any of it was, in a sentence.

    What was meant for other places, and what stands there afterwards, is looked at, too.
    """
    before = _others(hostile)
    refusals, wrong = [], ""
    with watched(hostile.path) as done:
        for work in (_watch,) if only_watch else (_watch, _export, _resume):
            try:
                wrong = wrong or work(hostile.path)
            except Exception as error:
                refusal = _refusal(error)
                if refusal is None:
                    return Outcome(f"{work.__name__}: {type(error).__name__}: {error}"[:300])
                refusals.append(refusal)
    if hostile.victim.exists() or done:
        return Outcome(f"code was run or a file written: {done}")
    if _others(hostile) != before:
        return Outcome(f"written beside the run: {_others(hostile)}")
    left = [path for path in hostile.path.rglob(".????????-*")]
    if left or wrong:
        return Outcome(wrong or f"left behind: {left}")
    return refusals[0] if refusals else Outcome("right")


def _refusal(error: Exception) -> Outcome | None:
    from HipICMSCLib.common.errors import HipError

    if not isinstance(error, HipError):
        return None
    return Outcome("refused" if is_sentence(error.sentence) else "no sentence", error.kind, error.sentence)


def _others(hostile: Hostile) -> dict[str, bytes | None]:
    """All that lies beside the run, and in the folders above it where a name with ".." would lead."""
    folder = hostile.path.parent
    places = [path for path in folder.rglob("*") if not path.is_relative_to(hostile.path)]
    places += [path for path in folder.parent.iterdir() if path.name.startswith("outside")]
    return {str(path): path.read_bytes() if path.is_file() else None for path in places}


def _watch(path: Path) -> str:
    """As the training panel does, without its widgets. What is wrong, or nothing."""
    from HipICMSCLib.common.errors import HipError
    from HipICMSCTrainingLib.run.alarm_watch import AlarmWatch
    from HipICMSCTrainingLib.run.curves import RunCurves
    from HipICMSCTrainingLib.run.files import is_picture
    from HipICMSCTrainingLib.run.folder import RunFolder, runs_below

    run = RunFolder(path)
    if [found.path for found in runs_below(path.parent)] != [path]:
        return "the run is not listed"
    looks = {
        "status": run.status,
        "log": run.tail_of_log,
        "pictures": lambda: [is_picture(picture) for picture in run.previews_of()],
        "stage 1": lambda: run.stage_1_steps(12),
        "about": run.about,
        "selection": run.checkpoints.selection,
        "metrics": run.metrics,
        "curves": lambda: RunCurves(run).update(),
        "alarms": lambda: AlarmWatch(run).look(run.status()),
        "use": run.in_use,
    }
    seen: dict[str, Any] = {}
    refused = None
    for name, look in looks.items():
        try:
            seen[name] = look()
        except HipError as error:
            refused = refused or error
    # Neither the first picture that is a bomb nor one that is none is shown; those of the training are.
    status = seen.get("status")
    texts = [*seen.get("log", []), *([status.sentence, status.phase] if status else [])]
    if not all(character.isprintable() or character in "\t\ufffd" for text in texts for character in text):
        return "a text commands the terminal"
    if refused is not None:
        raise refused
    return ""


def _export(path: Path) -> str:
    from HipICMSCLib.common.errors import HipError
    from HipICMSCLib.models.package import read_package
    from HipICMSCTrainingLib.run.export import export_package
    from HipICMSCTrainingLib.run.folder import RunFolder

    refused = None
    for weights in ("selected", "last", "average"):
        package = path / f"{weights}.hipmodel"
        try:
            export_package(RunFolder(path), package, weights)
        except HipError as error:
            refused = refused or error
            if package.exists():
                return "a package was left although its export was refused"
        else:
            read_package(package).network()
            package.unlink()
    if refused is not None:
        raise refused
    return ""


def _resume(path: Path) -> str:
    from HipICMSCTrainingLib.run.folder import RunFolder
    from HipICMSCTrainingLib.run.trainer import Trainer

    run = RunFolder(path)
    status = Trainer(run).train()
    if (status.state, run.status().state) != ("finished", "finished"):
        return f"the training ended as {status.state}"
    return ""


def write_good_run(data: TinyData, path: Path) -> Path:
    """A tiny run with everything in it, stopped after 8 of 12 steps."""
    from HipICMSCTrainingLib.run.trainer import Trainer

    class StopsInTime(Trainer):
        def do_step(self) -> dict[str, float]:
            losses = super().do_step()
            if self.pace.step == 8:
                self.folder.request("STOP")
            return losses

    run = data.start(path)
    StopsInTime(run).train()
    run.log.write_text("Trained.\n")
    run.write_about({"licence": "CC0"})
    return run.path


def _good_run() -> Path:
    folder = shared_folder() / "run"
    if not (folder / "good" / "about.json").exists():
        from HipICMSCTrainingLib.phantom.dataset import Resolution, write_dataset
        from tiny_training import TinyData, tiny_dataset

        shutil.rmtree(folder, ignore_errors=True)
        write_dataset(folder / "data", subjects=2, seed=3, resolution=Resolution((4.0, 5.0, 4.0), 4.0, 6.0))
        (folder / "no cache").mkdir()
        write_good_run(TinyData(folder / "data", folder / "no cache", tiny_dataset(folder / "data")), folder / "good")
    return folder / "good"


MAKERS: dict[str, Maker]
MAKERS, _attempt = area_of(RECIPES, lambda folder: RunMaker(_good_run(), folder), try_run)


def attempt(case: Case, output: Path) -> None:
    """As `malformed.case.Area` has it."""
    _attempt(case)
