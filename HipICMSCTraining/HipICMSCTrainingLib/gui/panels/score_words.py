"""What the scores of a run mean, a line each, whatever its method. They are those of scores.label_free_scores."""

from __future__ import annotations

from collections.abc import Mapping

from slicer.i18n import tr as _

#: Of the scores with names of their own; Dice and shares are called by a network's or a class's name.
_DICE, _SHARE = "dice_", "foreground_"
_USUAL_SHARE = (0.5, 2.0)


def scores_in_words(step: int, scores: Mapping[str, float]) -> str:
    """All scores of one step, the one that chose first, and what they do not say."""
    lines = [_("Scores of step {step}:").format(step=step)]
    for name in sorted(scores, key=lambda name: name != "selection"):
        number = f"{scores[name]:.2f}".replace("-", "−")
        unusual = name.startswith(_SHARE) and not _USUAL_SHARE[0] <= scores[name] <= _USUAL_SHARE[1]
        lines.append(f"• {_meaning(name)}: {number}{_(', which is not usual') if unusual else ''}")
    if used_labels_of_mri(scores):
        limits = _("The Dice on MRI chose the weights; only MRIs with the role test measure what the model can do.")
    else:
        limits = _("These scores show whether the training has collapsed; they do not measure accuracy on MRI.")
    return "\n".join([*lines, limits])


def used_labels_of_mri(scores: Mapping[str, float]) -> bool:
    """Whether they are those of a method that is trained on labelled MRIs."""
    return "dice_MR" in scores


def _meaning(name: str) -> str:
    known = {
        "selection": _("selection (the weights with the highest one are kept)"),
        "dice_F_s": _("Dice of F_s on held-out CT"),
        "dice_MR": _("Dice on held-out MRI"),
        "agreement": _("Dice between the two best ways to segment an MRI"),
        "entropy": _("doubt on MRI (0 none, 1 a guess)"),
    }
    if name in known:
        return known[name]
    if name.startswith(_DICE):
        network = name.removeprefix(_DICE)
        return _("Dice of {network} on held-out CT that looks like MRI").format(network=network)
    if name.startswith(_SHARE):
        bone = {"acetabulum": _("hip bone"), "femur": _("femur")}.get(name.removeprefix(_SHARE), name)
        usual = _("{bone} on MRI, as a multiple of that on CT ({least:g} to {most:g} is usual)")
        return usual.format(bone=bone, least=_USUAL_SHARE[0], most=_USUAL_SHARE[1])
    return name
