"""Every method that can be trained, by the name the command line and the panel use."""

from __future__ import annotations

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
