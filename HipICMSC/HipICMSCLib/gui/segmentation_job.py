"""One segmentation as Slicer sees it: a volume or a file goes out, a node or a file comes back."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from HipICMSCLib.errors import HipError
from HipICMSCLib.femoral_heads import FemoralHeads, head_at
from HipICMSCLib.files import replacing
from HipICMSCLib.gui.mrml import image_of, points_of
from HipICMSCLib.gui.result import read_result
from HipICMSCLib.gui.review import add_confidence_map, store_places
from HipICMSCLib.protocol import SegmentRequest
from HipICMSCLib.segmentation_file import SEGMENTATION_ENDING
from HipICMSCLib.volume_input import check_volume


class VolumeFile:
    """A volume node as a file that the worker reads, in a temporary folder until :meth:`close`."""

    def __init__(self, volume_node) -> None:
        """
        Raises:
            HipError: as `mrml.image_of`, `volume_input.check_volume` and `files.replacing`.
        """
        image = image_of(volume_node)
        check_volume(image, volume_node.GetName())
        self.folder = Path(tempfile.mkdtemp(prefix="HipICMSC-"))
        self.path = self.folder / "volume.nrrd"
        try:
            with replacing(self.path) as beside:
                sitk.WriteImage(image, str(beside))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self.folder, ignore_errors=True)


class NodeJob:
    """Segments a volume node into a segmentation node."""

    def __init__(
        self,
        volume_node,
        segmentation_node,
        model: Path,
        device: str = "auto",
        heads_node=None,
        replace_unlocked: bool = False,
    ) -> None:
        """
        Args:
            segmentation_node, replace_unlocked: as for `result.read_result`.
            heads_node: markups with one or two femoral head centres, where the user placed them.

        Raises:
            HipError: as :class:`VolumeFile`, or ``bad_points``.
        """
        heads = marked_heads(heads_node, volume_node)
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._replace_unlocked = replace_unlocked
        self._file = VolumeFile(volume_node)
        folder = self._file.folder
        self.request = SegmentRequest(
            image=str(self._file.path),
            output=str(folder / f"result{SEGMENTATION_ENDING}"),
            model=str(model),
            cancel_flag=str(folder / "cancel"),
            confidence=str(folder / "confidence.nrrd"),
            device=device,
            right_head=heads.right,
            left_head=heads.left,
        )

    @property
    def input_gone(self) -> bool:
        """Whether a node left the scene, so that the result would have no place."""
        nodes = (self._volume_node, self._segmentation_node)
        return any(node is not None and node.GetScene() is None for node in nodes)

    @property
    def changed_node(self):
        """The segmentation whose segments :meth:`finish` changes, or None."""
        return self._segmentation_node if self._replace_unlocked else None

    def finish(self, report: dict[str, Any]):
        """Returns the segmentation node with the result.

        Raises:
            HipError: as `result.read_result`.
        """
        node = read_result(
            Path(self.request.output), report, self._volume_node, self._segmentation_node, self._replace_unlocked
        )
        store_places(node, report["doubtful_places"])
        add_confidence_map(Path(self.request.confidence), self._volume_node, node)
        return node

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        self._file.close()


class FileJob:
    """Segments a file into a file; the scene is not touched."""

    input_gone, changed_node = False, None

    def __init__(self, path: Path, output: Path, model: Path, device: str = "auto") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="HipICMSC-"))
        self.request = SegmentRequest(
            image=str(path),
            output=str(output),
            model=str(model),
            cancel_flag=str(self._folder / "cancel"),
            device=device,
        )

    def finish(self, report: dict[str, Any]) -> None:
        """The worker wrote the result itself."""

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def marked_heads(markups_node, volume_node) -> FemoralHeads:
    """The femoral heads that the user marked with one or two points; None is no markups node.

    Raises:
        HipError: ``bad_points``.
    """
    if markups_node is None:
        return FemoralHeads(None, None)
    points = [tuple(float(x) for x in point) for point in points_of(markups_node)]
    if len(points) == 1:
        return head_at(image_of(volume_node), points[0])
    if len(points) == 2:
        return FemoralHeads(*sorted(points))  # the patient's right is at smaller x
    raise HipError(
        "bad_points",
        f"{markups_node.GetName()} has {len(points)} points; place one in the middle of each femoral head.",
    )
