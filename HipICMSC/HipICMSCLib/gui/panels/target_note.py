"""What becomes of a segmentation that has segments, said before the click."""

from __future__ import annotations

from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.named_bones import check_names
from HipICMSCLib.gui.scene.result import has_segments, is_of_another_volume, name_of_new_node, replaceable


def reason_against_result(choices) -> str:
    """Why the bones of the chosen Result may not be replaced; empty where they may, or where none would be.

    Args:
        choices: the parameter node; None while there is no scene.
    """
    if choices is None or choices.inputVolume is None:
        return ""
    target = choices.segmentation
    if not (choices.replaceUnlocked and has_segments(target)):
        return ""
    if is_of_another_volume(target, choices.inputVolume):
        return _("This result belongs to another MRI; choose (new segmentation) as Result.")
    try:
        check_names(target)
    except HipError as error:
        return error.sentence
    if not replaceable(target):
        return _("Every bone of {name} is marked as completed; there is nothing to replace.").format(
            name=target.GetName()
        )
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
    if choices.replaceUnlocked:
        ui.targetLabel.text = reason_against_result(choices) or _(
            "Replaces {names} in {target}. What is marked as completed and what is not ours stays to the voxel."
        ).format(names=", ".join(replaceable(target)), target=target.GetName())
    else:
        ui.targetLabel.text = _(
            "{name} has segments and is not overwritten: the result becomes a new segmentation, {new}."
        ).format(name=target.GetName(), new=name_of_new_node(choices.inputVolume, target))
