"""One measuring as Slicer sees it: the bones of a segmentation node go out, values, marks and maps come back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.running.segmentation_job import private_folder
from HipICMSCLib.gui.scene.bone_labels import label_image
from HipICMSCLib.measures.skeleton import MovedPoints, Point, Skeleton
from HipICMSCLib.results.morphometry_table import COLUMNS
from HipICMSCLib.worker.protocol import MeasureRequest


class MeasuringJob:
    """Measures the hips of a segmentation node; the scene is left to `scene.measures.measures_steps`."""

    changed_node = None
    cancelled_sentence = "The measuring was cancelled; nothing was changed."
    gone_sentence = "The segmentation was deleted; nothing was measured."

    def __init__(
        self,
        segmentation_node,
        moved: dict[str, MovedPoints],
        landmarks: dict[str, Point],
        page: Path | None = None,
    ) -> None:
        """
        Args:
            moved: what the user has moved by hand, by side.
            landmarks: of the pelvis's frame by name, LPS mm, where the user has moved some; else none.
            page: where to write the report of one page; a file that is there is replaced.

        Raises:
            HipError: as `label_image` and `files.replacing`.
        """
        self._node, self._page = segmentation_node, page
        image = label_image(segmentation_node)
        self._folder = private_folder()
        try:
            write_image(image, self._folder / "labels.nrrd", compression=None)
        except BaseException:
            self.close()
            raise
        self.request = MeasureRequest(
            labels=str(self._folder / "labels.nrrd"),
            name=segmentation_node.GetName(),
            cancel_flag=str(self._folder / "cancel"),
            moved=moved,
            landmarks=landmarks,
            page=str(self._folder / "page.html") if page else "",
        )

    @property
    def input_gone(self) -> bool:
        return self._node.GetScene() is None

    def finish(self, report: dict[str, Any]):
        """Returns the segmentation node.

        Raises:
            HipError: ``bad_message`` for a report that is none; as `files.replacing` for the page.
        """
        _check_report(report)
        if self._page is not None:
            with replacing(self._page) as beside:
                shutil.copyfile(self.request.page, beside)
        return self._node

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _check_report(report: dict[str, Any]) -> None:
    """Does it say all that the scene takes from it? Another version of the worker's may not."""
    try:
        if any(len(row) != len(COLUMNS) for row in report["rows"]) or len(report["rows"]) != len(report["marks"]):
            raise ValueError("rows of the table")
        for skeleton in report["skeletons"].values():
            from_json(Skeleton, skeleton)
        for document in report["markups"].values():
            [point["position"] for point in document["markups"][0]["controlPoints"]]
        for side in report["skeletons"]:
            report["clocks"][side]["alpha"], report["coverage"][side]["covered"]
        report["frame"]["name"], report["frame"]["caution"], report["notes"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, HipError) as error:
        raise HipError(
            "bad_message",
            "The segmentation process reported what is not understood here; restart Slicer and try again.",
            f"{type(error).__name__}: {error}",
        ) from error
