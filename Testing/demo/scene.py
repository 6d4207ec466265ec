"""Makes a scene (.mrb) of an image and its segmentation that Slicer opens as it is: ``scene.py IMAGE SEG OUT``.

Uses Slicer's own runtime (slicer-core), which should not share a process with torch; so the demo runs it as a command.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing

WINDOW_PERCENTILES = (0.5, 99.5)
FILL_OPACITY = 0.3
VIEW_MARGIN = 1.1
# Slicer's slice views: what each shows by default, and its frame's colour.
SLICE_VIEWS = {
    "Red": ("Axial", (0.952941, 0.290196, 0.2)),
    "Green": ("Coronal", (0.431373, 0.690196, 0.294118)),
    "Yellow": ("Sagittal", (0.929412, 0.835294, 0.298039)),
}


def write_scene(image_path: Path, segmentation_path: Path, scene_path: Path) -> None:
    """Write a scene with the image in a fitting window and its segmentation shown in slices and in 3-D.

    Args:
        image_path: a volume that Slicer reads (NRRD, NIfTI, MetaImage).
        segmentation_path: the ``.seg.nrrd`` of the same image.
        scene_path: the ``.mrb`` to write.

    Raises:
        HipError: ``unreadable`` if an input cannot be loaded, or what `HipICMSCLib.common.files.replacing` raises.
    """
    from trame_slicer.core import SlicerApp

    app = SlicerApp()
    # The runtime's own editor node is of no use in Slicer, which has another.
    app.scene.GetFirstNodeByClass("vtkMRMLSegmentEditorNode").SetSaveWithScene(False)
    volume = _loaded_volume(app, image_path)
    segmentation = _loaded_segmentation(app, segmentation_path, volume)
    _show_in_slice_views(app.scene, volume, segmentation)
    with tempfile.TemporaryDirectory() as folder:
        # The archive's inner folder has the name that it is first written under.
        written = Path(folder) / scene_path.name
        if not app.io_manager.write_scene(written):
            raise HipError("not_written", f"The scene {scene_path} could not be written.")
        with replacing(scene_path) as beside:
            shutil.copyfile(written, beside)


def _loaded_volume(app, path: Path):
    volumes = app.io_manager.load_volumes(str(Path(path).resolve())) if Path(path).is_file() else []
    if not volumes:
        raise HipError("unreadable", f"The image {path} could not be loaded into a scene.")
    volume = volumes[0]
    volume.SetName(_name(path))
    low, high = np.percentile(_scalars(volume), WINDOW_PERCENTILES)
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(low), float(high))
    return volume


def _loaded_segmentation(app, path: Path, volume):
    segmentation = app.io_manager.load_segmentation(path)
    if segmentation is None:
        raise HipError("unreadable", f"The segmentation {path} could not be loaded into a scene.")
    segmentation.SetName(_name(path))
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.CreateClosedSurfaceRepresentation()
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    display.SetVisibility(True)
    display.SetAllSegmentsVisibility(True)
    display.SetOpacity2DFill(FILL_OPACITY)
    return segmentation


def _show_in_slice_views(scene, volume, segmentation) -> None:
    """Put the image into Slicer's slice views, centred on the bones; views saved in a scene win over Slicer's own."""
    bounds = np.zeros(6)
    (segmentation if _has_bone(segmentation) else volume).GetRASBounds(bounds)
    centre = (bounds[::2] + bounds[1::2]) / 2
    volume.GetRASBounds(bounds)
    width = VIEW_MARGIN * float((bounds[1::2] - bounds[::2]).max())
    for name, (orientation, color) in SLICE_VIEWS.items():
        composite = _added_view_node(scene, "vtkMRMLSliceCompositeNode", name)
        composite.SetBackgroundVolumeID(volume.GetID())
        view = _added_view_node(scene, "vtkMRMLSliceNode", name)
        view.SetLayoutLabel(name[0])
        view.SetLayoutColor(*color)
        view.SetOrientation(orientation)
        view.SetFieldOfView(width, width, 1.0)
        view.JumpSliceByCentering(*centre)


def _added_view_node(scene, class_name: str, view: str):
    """A node that Slicer takes for the one of its own slice view of that name."""
    node = scene.CreateNodeByClass(class_name)
    node.SetName(view)
    node.SetSingletonTag(view)
    node.SetLayoutName(view)
    return scene.AddNode(node)


def _has_bone(segmentation) -> bool:
    bounds = np.zeros(6)
    segmentation.GetRASBounds(bounds)
    return bool((bounds[1::2] > bounds[::2]).all())


def _scalars(volume) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars())


def _name(path: Path) -> str:
    """A file's name without its endings."""
    return Path(path).name.removesuffix(".gz").rsplit(".", 1)[0].removesuffix(".seg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("scene", type=Path)
    arguments = parser.parse_args()
    try:
        write_scene(arguments.image, arguments.segmentation, arguments.scene)
    except HipError as error:
        print(error.sentence, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
