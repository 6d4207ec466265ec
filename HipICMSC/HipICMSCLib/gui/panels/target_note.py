"""What becomes of a segmentation that has segments, said before the click."""

from __future__ import annotations

from slicer.i18n import tr as _

from HipICMSCLib.gui.scene.result import has_segments, name_of_new_node, replaceable


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
        names = ", ".join(replaceable(target)) or _("nothing")
        ui.targetLabel.text = _(
            "Replaces {names} in {target}. What is marked as completed and what is not ours stays to the voxel."
        ).format(names=names, target=target.GetName())
    else:
        ui.targetLabel.text = _(
            "{name} has segments and is not overwritten: the result becomes a new segmentation, {new}."
        ).format(name=target.GetName(), new=name_of_new_node(choices.inputVolume, target))
