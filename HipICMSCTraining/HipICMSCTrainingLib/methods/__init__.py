"""Every method that can be trained, by the name the command line and the panel use."""

from __future__ import annotations

from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.methods.method import Method

METHODS: dict[str, type[Method]] = {"icmsc": Icmsc}
