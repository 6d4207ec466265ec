"""A run whose images lie elsewhere now: the same ones are found again by their voxels and where these lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.foreign_files import read_object

from HipICMSCTrainingLib.data.corrections import digest_of
from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.slice_cache import read_case
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.folder import RunFolder


def record_images(folder: RunFolder, cases: Iterable[Case]) -> None:
    """Write once, before the first step, what tells the images of a run from all others; it names nobody.

    Raises:
        HipError: whatever is wrong with a case, naming it; as for any file.
    """
    if not folder.images_file.exists():
        write_text(folder.images_file, json.dumps({"sha256": sorted(map(content_digest, cases))}, indent=2) + "\n")


def content_digest(case: Case) -> str:
    """SHA-256 of what a training reads of a case, in whichever format and folder it lies."""
    digest = hashlib.sha256()
    for image in filter(None, read_case(case)):
        grid = np.round([*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()], 3) + 0.0  # -0 is 0
        digest.update(repr((image.GetSize(), grid.tolist())).encode())
        digest.update(np.ascontiguousarray(sitk.GetArrayViewFromImage(image), np.float32))
    if case.corrected:
        digest.update(digest_of(case).encode())
    return digest.hexdigest()


def use_moved_data(folder: RunFolder, found: Dataset) -> None:
    """Let a run read its cases where ``found`` has them; roles and patients stay the run's.

    A case is known by its name and modality. One that takes part in the training must have the very content that the
    run has read; a test case, which is only measured, is taken by its name, and so is each case of a run that ended
    before it had read them all.

    Raises:
        HipError: ``other_images``, and the run stays as it was; as for reading a case.
    """
    description = RunDescription.read(folder)
    there = {(case.modality, case.name): case for case in found.cases}
    lost = [case.name for case in description.dataset.cases if (case.modality, case.name) not in there]
    if lost:
        raise HipError(
            "other_images",
            f"There is nothing by the name of the run's {'cases' if len(lost) > 1 else 'case'} {', '.join(lost[:5])}; "
            "name the data set that this run was made with.",
        )
    known = _recorded(folder)
    cases = []
    for case in description.dataset.cases:
        now = there[case.modality, case.name]
        moved = replace(case, image=now.image, label=now.label if case.label else None, corrected=now.corrected)
        if case.role != "test" and known is not None and content_digest(moved) not in known:
            raise HipError(
                "other_images",
                f"{Path(moved.image).name} is not the image of the case {case.name} that this run has read; name the "
                "data set that it was made with.",
            )
        cases.append(moved)
    values = folder.description() | {"dataset": Dataset(tuple(cases)).to_json()}
    write_text(folder.path / "run.json", json.dumps(values, indent=2) + "\n")


def _recorded(folder: RunFolder) -> set[str] | None:
    try:
        return set(read_object(folder.images_file)["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HipError("damaged_run", f"{folder.images_file} cannot be read.", str(error)) from error
