"""How trainings end while another module is open: Slicer's status bar says it, for they take hours."""

from __future__ import annotations

import slicer
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.running.training_process import runs_started_here, state_of
from HipICMSCTrainingLib.run.folder import RunFolder

_LOOK_MILLISECONDS = 10_000


class TrainingNews:
    """Looks between :meth:`start` and :meth:`stop` at the processes that were started from here while any lives."""

    def __init__(self) -> None:
        self._runs: list[RunFolder] = []
        self._timer = RepeatingTimer(_LOOK_MILLISECONDS, self.look)

    def start(self) -> None:
        """Another module is opened."""
        self._runs = runs_started_here()
        if self._runs:
            self._timer.start()

    def stop(self) -> None:
        """The module is opened again, or gone."""
        self._timer.stop()

    def look(self) -> None:
        """Say of each process that has ended since :meth:`start` how it did."""
        living = {run.path for run in runs_started_here()}
        for run in self._runs:
            if run.path not in living:
                slicer.util.showStatusMessage(_sentence(run))
        self._runs = [run for run in self._runs if run.path in living]
        if not self._runs:
            self._timer.stop()


def _sentence(run: RunFolder) -> str:
    state = state_of(run)
    if state == "finished":
        sentence = _("The training {name} is finished; open HipICMSC Training to use it.")
    elif state == "stopped":
        sentence = _("The training {name} has stopped; it can be resumed in HipICMSC Training.")
    else:
        sentence = _("The training {name} has failed; open HipICMSC Training to see why.")
    return sentence.format(name=run.path.name)
