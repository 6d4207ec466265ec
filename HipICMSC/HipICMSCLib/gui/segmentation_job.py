"""One segmentation as Slicer sees it: a volume goes out as a file, a result comes back as a node."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk

from HipICMSCLib.errors import HipError
from HipICMSCLib.files import replacing
from HipICMSCLib.gui.mrml import check_target, image_of, read_result
from HipICMSCLib.protocol import SegmentRequest
from HipICMSCLib.segmentation_file import SEGMENTATION_ENDING
from HipICMSCLib.volume_input import check_volume


class SegmentationJob:
    """Holds the files of a segmentation in a temporary folder until :meth:`close`."""

    def __init__(self, volume_node, segmentation_node, model: Path) -> None:
        """
        Raises:
            HipError: as `mrml.check_target`, `mrml.image_of`, `volume_input.check_volume` and `files.replacing`.
        """
        check_target(segmentation_node)
        image = image_of(volume_node)
        check_volume(image, volume_node.GetName())
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._folder = Path(tempfile.mkdtemp(prefix="HipICMSC-"))
        self.request = SegmentRequest(
            image=str(self._folder / "volume.nrrd"),
            output=str(self._folder / f"result{SEGMENTATION_ENDING}"),
            model=str(model),
            cancel_flag=str(self._folder / "cancel"),
        )
        try:
            with replacing(Path(self.request.image)) as beside:
                sitk.WriteImage(image, str(beside))
        except BaseException:
            self.close()
            raise

    def finish(self):
        """Returns the segmentation node with the result.

        Raises:
            HipError: ``input_gone`` if a node left the scene meanwhile, or as `mrml.read_result`.
        """
        for node in (self._volume_node, self._segmentation_node):
            if node is not None and node.GetScene() is None:
                raise HipError("input_gone", "The volume or its segmentation was deleted; there is no result.")
        return read_result(Path(self.request.output), self._volume_node, self._segmentation_node)

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self._folder, ignore_errors=True)
