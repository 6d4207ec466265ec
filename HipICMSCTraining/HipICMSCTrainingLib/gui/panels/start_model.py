"""The model that a training starts from: which there are, and what the chosen one says of the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import ModelArchive, read_archive
from HipICMSCLib.models.chosen import available_models, find_model
from slicer.i18n import tr as _

from HipICMSCTrainingLib.settings.choices import settings_of_model


class StartModel:
    """
    Attributes:
        names: that can be chosen, the empty one first, for none.
        settings: what the chosen one brings along, by name.
        archive: of the chosen one, without its weights; None where none is chosen, or it cannot be read.
        problem: why the chosen one cannot be started from; empty if it can.
    """

    def __init__(self) -> None:
        self.names: list[str] = [""]
        self.settings: dict[str, Any] = {}
        self.archive: ModelArchive | None = None
        self.problem = ""
        self._read = ""

    def forget(self) -> None:
        """Files may have come and gone."""
        self._read = ""

    def choose(self, name: str) -> None:
        """Look at this one, unless it was looked at last. One that is chosen but not here is among the names, too."""
        names = ["", *(path.stem for path in available_models())]
        self.names = names if name in names else [*names, name]
        if name == self._read:
            return
        self._read, self.settings, self.archive, self.problem = name, {}, None, ""
        if name:
            try:
                self.archive = replace(read_archive(find_model(name)), weights=b"")
                self.settings = settings_of_model(self.archive.manifest)
            except HipError as error:
                self.problem = error.sentence

    def texts(self) -> list[str]:
        """The names as they are listed."""
        unread = self._read if self.problem else None
        listed = [_("{name} (cannot be read)").format(name=name) if name == unread else name for name in self.names]
        return [_("(nothing)"), *listed[1:]]
