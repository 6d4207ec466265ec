"""The longest time for which Slicer's event loop stands still, step by step, on the widget bench.

``python Testing/benchmarks/gui_gaps.py`` writes gui_gaps.json: seconds by the clock, and seconds of the processor,
which are those of the clock where nothing else runs. Real are the panels, MRML, the worker and its model. The widgets
are PySide6's, the Segment Editor is stood in for, nothing is drawn: what Slicer takes for those is not in here.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "gui"), str(HERE.parent)]
os.environ["QT_QPA_PLATFORM"] = "offscreen"
_TICK_SECONDS = 0.01
#: After a step, for what it leaves to later ticks.
_AFTERWARDS_SECONDS = 1.0


class Gaps:
    """Measures the longest time that Qt does not come back from what it was asked to do."""

    def __init__(self, application) -> None:
        self._application = application
        #: By step: seconds by the clock and of the processor.
        self.longest: dict[str, tuple[float, float]] = {}
        self._worst = (0.0, 0.0)

    @contextlib.contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Measure what happens within, and a second more."""
        self._worst = (0.0, 0.0)
        yield
        limit = time.monotonic() + _AFTERWARDS_SECONDS
        self.wait(lambda: time.monotonic() > limit)
        self.longest[step] = tuple(round(seconds, 3) for seconds in self._worst)
        print("{}: {:.0f} ms, {:.0f} ms of the processor".format(step, *(1000 * x for x in self._worst)), flush=True)

    def do(self, action: Callable[[], object]) -> object:
        """What a user does, in the event loop."""
        clock, processor = time.perf_counter(), time.thread_time()
        try:
            return action()
        finally:
            took = (time.perf_counter() - clock, time.thread_time() - processor)
            self._worst = tuple(map(max, self._worst, took))

    def wait(self, until: Callable[[], object]) -> None:
        while not until():
            self.do(self._application.processEvents)
            time.sleep(_TICK_SECONDS)


def main() -> None:
    import pythonqt
    import slicer
    import slicer_stand_ins
    from conftest import Panel
    from PySide6.QtWidgets import QApplication
    from trame_slicer.core import SlicerApp

    application, app = QApplication([]), SlicerApp()
    slicer_stand_ins.install(app)
    pythonqt.install()
    slicer.app.processEvents = application.processEvents
    gaps = Gaps(application)

    def open_panel(name: str) -> Panel:
        return Panel(slicer_stand_ins.load_module(name), name, application)

    with tempfile.TemporaryDirectory() as folder:
        segment(gaps, open_panel, Path(folder)).close()
        train(gaps, open_panel).close()
    from measuring import machine  # loads torch, which Slicer's process never does

    seconds = {step: {"clock": clock, "processor": own} for step, (clock, own) in gaps.longest.items()}
    found = {"machine": machine(), "load": round(os.getloadavg()[0], 1), "longest gap, seconds": seconds}
    (HERE / "gui_gaps.json").write_text(json.dumps(found, indent=2) + "\n")


def segment(gaps: Gaps, open_panel: Callable[[str], Any], folder: Path):
    """From the opening of HipICMSC to a result that is reviewed; the panel."""
    import slicer
    from HipICMSCLib.models.chosen import PHANTOM_MODEL
    from HipICMSCTrainingLib.phantom.write_subject import write_subject

    write_subject("MR", 2026, 0, folder / "mri.nrrd", folder / "truth.nrrd")
    for name in ("Red", "Green", "Yellow"):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name)
    with gaps.of("the module is opened"):
        panel = gaps.do(lambda: open_panel("HipICMSC"))
    panel.logic.getParameterNode().model = PHANTOM_MODEL
    view, ui = panel.widget.panel, panel.ui
    volumes = slicer.modules.volumes.logic()
    first, second = (volumes.AddArchetypeVolume(str(folder / "mri.nrrd"), name, 1) for name in ("first", "second"))
    with gaps.of("an MRI is chosen and looked over"):
        gaps.do(lambda: ui.inputSelector.setCurrentNode(first))
        gaps.wait(lambda: not view.card.pending)
    with gaps.of("Segment hip is pressed"):
        gaps.do(ui.segmentButton.click)
        gaps.wait(lambda: ui.progressBar.value > 0 or view.settled)
    with gaps.of("the result arrives"):
        gaps.wait(lambda: view.settled)
    with gaps.of("the next doubtful slice"):
        gaps.do(ui.nextPlaceButton.click)
    with gaps.of("the confidence map is shown"):
        gaps.do(ui.confidenceMapCheckBox.click)
    with gaps.of("another MRI is chosen"):
        gaps.do(lambda: ui.inputSelector.setCurrentNode(second))
        gaps.wait(lambda: not view.card.pending)
    with gaps.of("the first MRI with its result again"):
        gaps.do(lambda: ui.inputSelector.setCurrentNode(first))
        gaps.wait(lambda: view.settled)
    return panel


def train(gaps: Gaps, open_panel: Callable[[str], Any]):
    """From the opening of HipICMSC Training to the curves of a run; the panel."""
    from training_run import trained_run

    run = trained_run()
    with gaps.of("the training module is opened"):
        panel = gaps.do(lambda: open_panel("HipICMSCTraining"))
    view = panel.widget.panel
    gaps.wait(lambda: not view.settings_panel.reason_against_taking())
    with gaps.of("a run is chosen"):
        gaps.do(lambda: view.runs_panel.select(run))
    with gaps.of("its curves are shown"):
        gaps.do(panel.ui.liveCurvesButton.click)
    return panel


if __name__ == "__main__":
    main()
