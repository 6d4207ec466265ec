"""What becomes of a segmentation that has segments, said before the click."""

from __future__ import annotations

from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.named_bones import check_names
from HipICMSCLib.gui.scene.result import has_segments, is_of_another_volume, name_of_new_node, replaceable, volume_of


def reason_against_replacing(segmentation_node, volume_node) -> str:
    """Why bones in a segmentation may not be replaced by those of a volume; empty where they may."""
    name = segmentation_node.GetName()
    if is_of_another_volume(segmentation_node, volume_node):
        return _(
            "{name} shows the bones of {other}, not of {volume}; choose a new segmentation, or one of {volume}."
        ).format(name=name, other=volume_of(segmentation_node).GetName(), volume=volume_node.GetName())
    try:
        check_names(segmentation_node)
    except HipError as error:
        return error.sentence
    if not replaceable(segmentation_node):
        return _("Every bone of {name} is marked as completed; there is nothing to replace.").format(name=name)
    return ""


def show_target(ui, choices) -> None:
    """Fill the check box and the note below the choice of the result.

    Args:
        ui: of the panel.
        choices: the parameter node.
    """
    target = choices.segmentation
    matters = has_segments(target) and choices.inputVolume is not None
    for widget in (ui.replaceUnlockedCheckBox, ui.targetLabel):
        widget.visible = matters
    if not matters:
        return
    if choices.replaceUnlocked and is_of_another_volume(target, choices.inputVolume):
        ui.targetLabel.text = reason_against_replacing(target, choices.inputVolume)
    elif choices.replaceUnlocked:
        names = ", ".join(replaceable(target)) or _("nothing")
        ui.targetLabel.text = _(
            "Replaces {names} in {target}. What is marked as completed and what is not ours stays to the voxel."
        ).format(names=names, target=target.GetName())
    else:
        ui.targetLabel.text = _(
            "{name} has segments and is not overwritten: the result becomes a new segmentation, {new}."
        ).format(name=target.GetName(), new=name_of_new_node(choices.inputVolume, target))
