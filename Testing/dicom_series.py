"""Writes a DICOM series, a file a slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk


def dicom_series(folder: Path, voxels: np.ndarray, series: str = "1.2.3", without: tuple[int, ...] = ()) -> None:
    """Coronal slices of 0.9 × 0.9 mm, 5.2 mm apart, rows to the feet, front to back, written in disorder."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(len(voxels)):
        if number in without:
            continue
        slice_ = sitk.GetImageFromArray(voxels[number])
        slice_.SetSpacing((0.9, 0.9))
        tags = {
            "0008|0060": "MR", "0008|0018": f"{series}.{number + 1}", "0020|000d": "1.2.9", "0020|000e": series,
            "0020|0013": str(number + 1), "0018|0050": "5.2", "0020|0037": "1\\0\\0\\0\\0\\-1",
            "0020|0032": f"-70.5\\{-40 + 5.2 * number}\\88.25",
        }  # fmt: skip
        for tag, value in tags.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{(number * 7) % 100:03d}-{series}.dcm"))
        writer.Execute(slice_)
