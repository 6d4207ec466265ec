"""One segmentation as Slicer sees it: a volume or a file goes out, a node or a file comes back."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.batch.queue import share_of_doubt
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing, storage_error
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.scene.mrml import image_of, points_of
from HipICMSCLib.gui.scene.result import has_segments, read_result
from HipICMSCLib.gui.scene.review import add_confidence_map, read_confidence_map, store_doubt, store_places
from HipICMSCLib.preprocessing.image_check import check_volume
from HipICMSCLib.results.provenance import provenance
from HipICMSCLib.results.review import Place
from HipICMSCLib.results.segmentation_file import SEGMENTATION_ENDING, check_ending
from HipICMSCLib.worker.protocol import Point, SegmentRequest

#: Nobody else's folder begins so, for what begins so is removed.
_FOLDER_PREFIX = "HipICMSC-job-"
#: What a Slicer that crashed left behind; no segmentation takes so long.
_LEFT_OVER_SECONDS = 24 * 3600


def remove_leftovers() -> None:
    """Remove the folders of volumes that a Slicer which crashed could not remove, for they hold patient data."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_OVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class VolumeFile:
    """A volume as a file that the worker reads, in a temporary folder until :meth:`close`."""

    def __init__(self, image: sitk.Image, name: str) -> None:
        """
        Args:
            name: what the user calls it.

        Raises:
            HipError: as `image_check.check_volume` and `files.replacing`.
        """
        check_volume(image, name)
        self.folder = private_folder()
        self.path = self.folder / "volume.nrrd"
        try:
            write_image(image, self.path, compression=None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self.folder, ignore_errors=True)


class NodeJob:
    """Segments a volume node into a segmentation node."""

    cancelled_sentence = "The segmentation was cancelled; nothing was changed."
    gone_sentence = "The volume or its segmentation was deleted; there is no result."

    def __init__(
        self,
        volume_node,
        segmentation_node,
        model: Path,
        device: str = "auto",
        heads_node=None,
        replace_unlocked: bool = False,
        insist: bool = False,
        shown: bool = True,
    ) -> None:
        """
        Args:
            segmentation_node, replace_unlocked: as for `result.read_result`.
            heads_node: markups with one or two femoral head centres, where the user placed them.
            insist: the user says that it is an MRI, whatever it looks like.
            shown: whether the views show the result; one of many is hidden until it is asked for.

        Raises:
            HipError: as `mrml.image_of`, :class:`VolumeFile` and :func:`marked_heads`.
        """
        heads = marked_heads(heads_node)
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._replace_unlocked, self._shown = replace_unlocked, shown
        # One that has segments and is not written into gives the new one its name alone.
        is_needed = replace_unlocked or not has_segments(segmentation_node)
        self._needed = (volume_node, segmentation_node if is_needed else None)
        self._file = VolumeFile(image_of(volume_node), volume_node.GetName())
        folder = self._file.folder
        self.request = SegmentRequest(
            image=str(self._file.path),
            output=str(folder / f"result{SEGMENTATION_ENDING}"),
            model=str(model),
            cancel_flag=str(folder / "cancel"),
            confidence=str(folder / "confidence.nrrd"),
            device=device,
            heads=heads,
            insist=insist,
        )

    @property
    def input_gone(self) -> bool:
        """Whether a node left the scene, so that the result would have no place."""
        return any(node is not None and node.GetScene() is None for node in self._needed)

    @property
    def changed_node(self):
        """The segmentation whose segments :meth:`finish` changes, or None."""
        return self._segmentation_node if self._replace_unlocked else None

    def finish(self, report: dict[str, Any]):
        """Returns the segmentation node with the result. If anything is wrong the scene stays as it was.

        Raises:
            HipError: as `result.read_result` and `review.read_confidence_map`; ``bad_message`` for a report that is
                none.
        """
        _check_report(report)
        confidence = read_confidence_map(Path(self.request.confidence), self._volume_node)
        node = read_result(
            Path(self.request.output), report, self._volume_node, self._segmentation_node, self._replace_unlocked
        )
        node.GetDisplayNode().SetVisibility(self._shown)
        store_places(node, report["doubtful_places"])
        store_doubt(node, share_of_doubt(report))
        add_confidence_map(confidence, self._volume_node, node)
        return node

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        self._file.close()


class FileJob:
    """Segments a file into a file; the scene is not touched, and ``output`` is there when it is whole.

    A worker that is killed leaves what it was just writing, so it writes into a temporary folder.
    """

    input_gone, changed_node = False, None
    cancelled_sentence, gone_sentence = NodeJob.cancelled_sentence, NodeJob.gone_sentence

    def __init__(self, path: Path, output: Path, model: Path, device: str = "auto", series: str | None = None) -> None:
        """
        Args:
            series: which volume of a DICOM folder; None where there is one.

        Raises:
            HipError: as `segmentation_file.check_ending` and `files.replacing`.
        """
        ending = check_ending(output)
        self._output, self._folder = output, private_folder()
        self.request = SegmentRequest(
            image=str(path),
            output=str(self._folder / f"result{ending}"),
            model=str(model),
            cancel_flag=str(self._folder / "cancel"),
            device=device,
            series=series,
        )

    def finish(self, report: dict[str, Any]) -> None:
        """
        Raises:
            HipError: ``unreadable`` where there is no result after all; as `files.replacing`.
        """
        if not Path(self.request.output).is_file():
            raise HipError("unreadable", "The result of the segmentation could not be read.", self.request.output)
        with replacing(self._output) as beside:
            shutil.copyfile(self.request.output, beside)

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def private_folder() -> Path:
    """A new folder for files of a patient; whoever asks for it removes it.

    Raises:
        HipError: ``no_folder``, or as `files.storage_error`.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    except OSError as error:
        if error.filename:
            raise storage_error(error, Path(error.filename)) from error
        raise HipError(
            "no_folder", "This computer has no folder for temporary files; free its disk.", str(error)
        ) from error


def _check_report(report: dict[str, Any]) -> None:
    """Does it say all that the scene and the views take from it? Another version of the worker's may not."""
    try:
        " ".join(provenance(report).values())
        [float(report["volumes_ml"][segment.name]) for segment in SEGMENTS]
        [from_json(Place, place) for place in report["doubtful_places"]]
        heads = [head for head in report["femoral_heads_lps_mm"].values() if head is not None]
        if not heads or any(len(head) != 3 for head in heads):
            raise ValueError(f"femoral heads {heads}")
    except (KeyError, TypeError, ValueError, AttributeError, HipError) as error:
        raise HipError(
            "bad_message",
            "The segmentation process reported what is not understood here; restart Slicer and try again.",
            f"{type(error).__name__}: {error}",
        ) from error


def marked_heads(markups_node) -> tuple[Point, ...]:
    """The femoral head centres that the user marked, LPS mm; none where there is no markups node.

    Raises:
        HipError: ``bad_points`` unless there are one or two.
    """
    if markups_node is None:
        return ()
    points = tuple(tuple(float(x) for x in point) for point in points_of(markups_node))
    if len(points) not in (1, 2):
        raise HipError(
            "bad_points",
            f"{markups_node.GetName()} has {len(points)} points; place one in the middle of each femoral head.",
        )
    return points
