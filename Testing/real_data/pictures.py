"""Draws what a model finds in an MRI as surfaces, without a voxel of it: `python pictures.py MODEL MRI OUT.png`.

From the front, from behind, from the patient's right and from below, in the segments' own colours; what is cut, missing
or a stray is seen at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.reading.volume import read_volume
from vtkmodules import vtkInteractionStyle, vtkRenderingOpenGL2  # noqa: F401, what vtk draws with
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals, vtkWindowedSincPolyDataFilter
from vtkmodules.vtkFiltersGeneral import vtkDiscreteFlyingEdges3D
from vtkmodules.vtkIOImage import vtkPNGWriter
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkWindowToImageFilter,
)

#: Of the camera, LPS: where it stands, and what is up.
VIEWS = {
    "front": ((0, -1, 0), (0, 0, 1)),
    "back": ((0, 1, 0), (0, 0, 1)),
    "right": ((-1, 0, 0), (0, 0, 1)),
    "below": ((0, 0, -1), (0, -1, 0)),
}
_SIZE = 420


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("mri", type=Path)
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    result = HipSegmenter(chosen.model, "cpu").segment(read_volume(chosen.mri))
    for notice in result.notices:
        print(notice.sentence)
    draw(result.labels, chosen.output)


def draw(labels: sitk.Image, output: Path) -> None:
    """
    Args:
        labels: values as in `HipICMSCLib.anatomy.segments.SEGMENTS`.
    """
    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(_SIZE * len(VIEWS), _SIZE)
    actors = [_actor(labels, segment.value, segment.color) for segment in SEGMENTS]
    for number, (place, up) in enumerate(VIEWS.values()):
        renderer = vtkRenderer()
        renderer.SetBackground(1, 1, 1)
        renderer.SetViewport(number / len(VIEWS), 0, (number + 1) / len(VIEWS), 1)
        for actor in actors:
            renderer.AddActor(actor)
        camera = renderer.GetActiveCamera()
        camera.SetPosition(*place)
        camera.SetViewUp(*up)
        camera.ParallelProjectionOn()
        renderer.ResetCamera()
        camera.Zoom(1.3)
        window.AddRenderer(renderer)
    window.Render()
    picture = vtkWindowToImageFilter()
    picture.SetInput(window)
    writer = vtkPNGWriter()
    writer.SetInputConnection(picture.GetOutputPort())
    writer.SetFileName(str(output))
    writer.Write()


def _actor(labels: sitk.Image, value: int, color: tuple[float, float, float]) -> vtkActor:
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(_surface(labels, value))
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    return actor


def _surface(labels: sitk.Image, value: int) -> vtkPolyData:
    """Of a segment, in LPS mm; a little smoothed, as Slicer shows it."""
    # A border of background closes bones that the image cuts.
    labels = sitk.ConstantPad(labels, (1, 1, 1), (1, 1, 1))
    image = vtkImageData()
    image.SetDimensions(labels.GetSize())
    image.SetSpacing(labels.GetSpacing())
    image.SetOrigin(labels.GetOrigin())
    image.SetDirectionMatrix(labels.GetDirection())
    voxels = numpy_to_vtk(sitk.GetArrayFromImage(labels).ravel(), deep=True)
    image.GetPointData().SetScalars(voxels)
    edges = vtkDiscreteFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, value)
    smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(edges.GetOutputPort())
    smooth.SetNumberOfIterations(20)
    smooth.SetPassBand(0.05)
    normals = vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.Update()
    return normals.GetOutput()


if __name__ == "__main__":
    main()
