"""A result of the scene as it was corrected: the MRI and the bones as displayed, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

import SimpleITK as sitk
import slicer

from HipICMSCLib.anatomy.as_made import AS_MADE
from HipICMSCLib.gui.scene.bone_labels import label_image
from HipICMSCLib.gui.scene.mrml import image_of
from HipICMSCLib.gui.scene.named_bones import bones_in, tag_of
from HipICMSCLib.gui.scene.result import is_locked, provenance_of, volume_of


@dataclass(frozen=True)
class SceneCorrection:
    """What becomes a case; the texts and names are by ``segment_id`` of `anatomy.segments.SEGMENTS`.

    Attributes:
        labels: on the grid that is drawn on, which is that of ``image`` unless the user chose another.
        as_made: what the model drew, as `anatomy.as_made` has it.
        completed: what the user marked so.
        made_by: as `provenance.provenance` said.
        source: what the user calls the MRI.
    """

    image: sitk.Image
    labels: sitk.Image
    as_made: dict[str, str]
    completed: tuple[str, ...]
    made_by: dict[str, str]
    source: str


def correction_of(segmentation_node) -> SceneCorrection:
    """
    Raises:
        HipError: as `mrml.image_of` and `bone_labels.label_image`.
    """
    volume_node, segmentation = volume_of(segmentation_node), segmentation_node.GetSegmentation()
    segments = {
        bone.segment_id: segmentation.GetSegment(segment_id) for bone, segment_id in bones_in(segmentation_node).items()
    }
    return SceneCorrection(
        image_of(volume_node),
        label_image(segmentation_node),
        {name: text for name, segment in segments.items() if (text := tag_of(segment, AS_MADE))},
        tuple(name for name, segment in segments.items() if is_locked(segment)),
        provenance_of(segmentation_node),
        _source(volume_node),
    )


def _source(volume_node) -> str:
    """Its place in the subject hierarchy, where a patient and a study may be above it, and its file."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume_node.GetScene())
    item, top = hierarchy.GetItemByDataNode(volume_node), hierarchy.GetSceneItemID()
    names = []
    while item and item != top:
        names.insert(0, hierarchy.GetItemName(item))
        item = hierarchy.GetItemParent(item)
    storage = volume_node.GetStorageNode()
    file = (storage.GetFileName() or "") if storage is not None else ""
    return " / ".join(names or [volume_node.GetName()]) + (f" ({file})" if file else "")
