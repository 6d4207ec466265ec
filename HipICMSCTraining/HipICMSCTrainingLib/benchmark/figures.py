"""The paper's figures 2 and 3 from the runs of a benchmark. No name of a case is written into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.preprocessing.crop import PreparedVolume, prepare
from HipICMSCLib.preprocessing.geometry import CropSettings, coronal_slices
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCLib.reading.volume import read_image, read_volume
from HipICMSCLib.results.research_use import RESEARCH_USE
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries
from torch import Tensor

from HipICMSCTrainingLib.benchmark.heads import read_heads
from HipICMSCTrainingLib.benchmark.plan import Plan
from HipICMSCTrainingLib.benchmark.row import MeasuredRun
from HipICMSCTrainingLib.benchmark.rows import rows_of
from HipICMSCTrainingLib.benchmark.runs import Benchmark
from HipICMSCTrainingLib.benchmark.translation import Translation
from HipICMSCTrainingLib.data.label_maps import read_labels
from HipICMSCTrainingLib.run.previews import CONTOUR_COLOURS

#: Figure 2 shows the paper's field of view in square pixels, whatever the networks read.
FIELD = CropSettings(spacing_mm=(1.25, 1.25, 1.25), size=(300, 160, 192))
#: Behind the femoral heads: the examples of a volume, the first first.
POSITIONS_MM = (0.0, -15.0, 15.0)
#: The methods whose translations figure 3 compares.
TRANSLATORS = ("cyclegan", "icmsc")

_FILL_OPACITY = 0.3
_PANEL_WIDTH = 300
_GAP, _LINE, _MARGIN, _LETTERS = 3, 24, 6, 15

Picture = np.ndarray  # (row, column, RGB) uint8


def write_figure_2(folder: Path, output: Path, seed: int, examples: int) -> None:
    """A row an example: a coronal slice of a test MRI, what each measured method makes of it, and the truth.

    Raises:
        HipError: ``no_benchmark``; ``nothing_measured`` if no row of Table 1 is measured with this seed.
    """
    benchmark = _opened(folder)
    cases, heads = benchmark.data().measured_cases, read_heads(benchmark.heads_file)
    runs = {row.title: MeasuredRun(benchmark.run(row, seed)) for row in rows_of("table1")}
    runs = {title: run for title, run in runs.items() if run.is_done}
    if not runs:
        raise HipError("nothing_measured", f"No row of Table 1 is measured with seed {seed} yet; make table1 first.")
    rows = []
    for number, position_mm in _examples(heads, examples):
        image = read_volume(Path(cases[number - 1].image))
        truth = read_labels(cases[number - 1], image)
        view = _View(image, heads[number - 1], position_mm)
        results = [read_image(run.prediction(number))[0] for run in runs.values()]
        rows.append([view.picture(), *map(view.picture, results), view.picture(truth)])
    _write_sheet(output, ["MRI", *runs, "truth"], [""] * len(rows), rows, _notes(benchmark.plan, colours=True))


def write_figure_3(folder: Path, output: Path, seed: int, examples: int) -> None:
    """A row a held-out slice, MR to CT and CT to MR: input, translated and reconstructed by CycleGAN and by ICMSC.

    Raises:
        HipError: ``no_benchmark``; ``nothing_measured`` if neither method is measured with this seed.
    """
    benchmark = _opened(folder)
    compared = [row for row in rows_of("table1") if row.key in TRANSLATORS]
    compared = [row for row in compared if MeasuredRun(benchmark.run(row, seed)).is_done]
    if not compared:
        raise HipError(
            "nothing_measured", f"Neither CycleGAN nor ICMSC is measured with seed {seed} yet; make table1 first."
        )
    titles = ["input", *(f"{what}, {row.title}" for row in compared for what in ("translated", "reconstructed"))]
    networks = [Translation(benchmark.run(row, seed)) for row in compared]
    names, rows = [], []
    for way, modality in (("MR to CT", "MR"), ("CT to MR", "CT")):
        slices = networks[0].slices(modality, examples)
        names += [way] * len(slices)
        rows += [
            [_picture(x), *(_picture(y) for each in networks for y in each.there_and_back(x, modality))] for x in slices
        ]
    _write_sheet(output, titles, names, rows, _notes(benchmark.plan))


def _opened(folder: Path) -> Benchmark:
    plan = Plan.read(folder)
    if plan is None:
        raise HipError("no_benchmark", f"{folder} holds no benchmark.")
    return Benchmark(folder, plan)


def _examples(heads: Sequence[FemoralHeads | HipError], count: int) -> list[tuple[int, float]]:
    """Numbers of test cases (the first is 1) and positions in them; another slice of a case only after all cases."""
    usable = [number for number, found in enumerate(heads, start=1) if isinstance(found, FemoralHeads)]
    return [(number, position_mm) for position_mm in POSITIONS_MM for number in usable][:count]


class _View:
    """The coronal slice of an MRI at a distance behind its femoral heads."""

    def __init__(self, image: sitk.Image, heads: FemoralHeads, position_mm: float) -> None:
        self.prepared: PreparedVolume = prepare(image, heads, "MR", FIELD, IntensitySettings())
        self.index = int(np.abs(self.prepared.position_mm - position_mm).argmin())

    def picture(self, labels: sitk.Image | None = None) -> Picture:
        grey = _grey(self.prepared.slices[self.index])
        if labels is None:
            return _coloured(grey)
        return _coloured(grey, coronal_slices(self.prepared.grid.resample(labels, sitk.sitkLabelLinear, 0))[self.index])


def _picture(x: Tensor) -> Picture:
    return _coloured(_grey(x[0, 0].numpy()))


def _grey(slice_: np.ndarray) -> np.ndarray:
    """A slice in [-1, 1] as uint8."""
    return ((slice_ + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _coloured(grey: np.ndarray, labels: np.ndarray | None = None) -> Picture:
    """The slice with hip bone and femur as light fill and full outline."""
    rgb = np.stack([grey] * 3, axis=-1).astype(float)
    for value, colour in enumerate(CONTOUR_COLOURS, start=1) if labels is not None else ():
        inside = labels == value
        rgb[inside] += _FILL_OPACITY * (np.array(colour) - rgb[inside])
        rgb[find_boundaries(inside, mode="inner")] = colour
    return rgb.round().astype(np.uint8)


def _notes(plan: Plan, colours: bool = False) -> list[tuple[str, tuple[int, int, int]]]:
    """Words below a sheet, each with its colour."""
    white = (255, 255, 255)
    notes = list(zip(("acetabulum", "femur"), CONTOUR_COLOURS, strict=True)) if colours else []
    data = f"Synthetic volumes, {plan.contrast} MRIs." if plan.dataset is None else ""
    return [*notes, (f"{data} {RESEARCH_USE}".strip(), white)]


def _write_sheet(
    output: Path,
    titles: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Sequence[Picture]],
    notes: Sequence[tuple[str, tuple[int, int, int]]],
) -> None:
    """Pictures of one size below ``titles`` and beside ``names``, and words at the bottom.

    Raises:
        HipError: ``bad_setting`` for a name that does not end in .png; as for any file.
    """
    if output.suffix.lower() != ".png":
        raise HipError(
            "bad_setting", f"The figure is a PNG picture, so its name must end in .png, unlike {output.name}."
        )
    font = ImageFont.load_default(size=_LETTERS)
    height = round(_PANEL_WIDTH * rows[0][0].shape[0] / rows[0][0].shape[1])
    left = 2 * _MARGIN + round(max(map(font.getlength, names))) if any(names) else 0
    size = left + len(titles) * (_PANEL_WIDTH + _GAP), 2 * _LINE + len(rows) * (height + _GAP)
    sheet = Image.new("RGB", size)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        middle = left + column * (_PANEL_WIDTH + _GAP) + _PANEL_WIDTH / 2
        draw.text((middle, _LINE / 2), title, (255, 255, 255), font, anchor="mm")
    for row, (name, pictures) in enumerate(zip(names, rows, strict=True)):
        top = _LINE + row * (height + _GAP)
        draw.text((_MARGIN, top + height / 2), name, (255, 255, 255), font, anchor="lm")
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((_PANEL_WIDTH, height), Image.Resampling.BICUBIC)
            sheet.paste(enlarged, (left + column * (_PANEL_WIDTH + _GAP), top))
    place = _MARGIN
    for text, colour in notes:
        draw.text((place, size[1] - _LINE / 2), text, colour, font, anchor="lm")
        place += round(font.getlength(text)) + 3 * _MARGIN
    with replacing(output) as beside:
        sheet.save(beside)
