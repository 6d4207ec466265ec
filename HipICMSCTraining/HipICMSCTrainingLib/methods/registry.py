"""Every method that can be trained, by the name the command line and the panel use."""

from __future__ import annotations

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.methods.adda import Adda
from HipICMSCTrainingLib.methods.cycada import Cycada
from HipICMSCTrainingLib.methods.cyclegan import CycleGan
from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.methods.method import Method
from HipICMSCTrainingLib.methods.no_adaptation import NoAdaptation
from HipICMSCTrainingLib.methods.sifa import Sifa
from HipICMSCTrainingLib.methods.target_model import TargetModel

#: The default first, then the others in the order of the paper's Table 1.
METHODS: dict[str, type[Method]] = {
    "icmsc": Icmsc,
    "no_adaptation": NoAdaptation,
    "adda": Adda,
    "cyclegan": CycleGan,
    "cycada": Cycada,
    "sifa": Sifa,
    "target_model": TargetModel,
}


def find_method(name: str) -> type[Method]:
    """
    Raises:
        HipError: ``unknown_method``.
    """
    if name not in METHODS:
        raise HipError("unknown_method", f"There is no method {name}; there are {', '.join(METHODS)}.")
    return METHODS[name]
