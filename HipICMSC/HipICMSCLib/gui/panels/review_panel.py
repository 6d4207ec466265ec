"""Leads through the places of a result that deserve a look."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT

from HipICMSCLib.gui.panels.list_height import fit_height
from HipICMSCLib.gui.scene.review import (
    Review,
    ReviewPlace,
    confidence_map_of,
    is_confidence_map_shown,
    show_confidence_map,
)

#: Mean doubt from which a place is called so.
_VERY_DOUBTFUL, _DOUBTFUL = 0.3, 0.15
_MOST_ROWS = 4


class ReviewPanel(VTKObservationMixin):
    """The collapsible section "Review the result"."""

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        super().__init__()
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Review.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        # What the controls do when they can be used; the .ui file has it, and a reason takes its place.
        controls = ("nextPlaceButton", "previousPlaceButton", "confidenceMapCheckBox")
        self._usual_tips = {name: getattr(self.ui, name).toolTip for name in controls}
        self.ui.nextPlaceButton.connect("clicked(bool)", self._on_next)
        self.ui.previousPlaceButton.connect("clicked(bool)", self._on_back)
        self.ui.placesList.connect("itemSelectionChanged()", self._on_selected)
        # A place that is selected already, after the user has moved the views away from it.
        self.ui.placesList.connect("itemActivated(QListWidgetItem*)", self._on_activated)
        self.ui.confidenceMapCheckBox.connect("toggled(bool)", self._on_map_toggled)
        self.addObserver(slicer.mrmlScene, slicer.vtkMRMLScene.NodeRemovedEvent, self._on_node_removed)
        self._node = None
        self.show(None)

    def show(self, segmentation_node) -> None:
        """Review this segmentation; None if there is no result. The map of the one before leaves the views."""
        before = self._node
        if before is not None and before is not segmentation_node and before.GetScene() is not None:
            show_confidence_map(before, False)
        self._node = segmentation_node
        self._review = None if segmentation_node is None else Review(segmentation_node)
        places_list = self.ui.placesList
        places_list.blockSignals(True)
        places_list.clear()
        for number, place in enumerate(self._places(), 1):
            places_list.addItem(_line(number, place))
        places_list.blockSignals(False)
        fit_height(places_list, len(self._places()), _MOST_ROWS)
        self._refresh()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self.removeObservers()

    def _places(self) -> list[ReviewPlace]:
        return [] if self._review is None else self._review.places

    def _refresh(self) -> None:
        places = self._places()
        reason = self._reason_against(places)
        self.ui.reviewStateLabel.text = reason or self._sentence(places)
        self._enable("nextPlaceButton", reason)
        self.ui.placesList.visible = not reason
        at_start = "" if self._review and self._review.current else _("There is no place before this one.")
        self._enable("previousPlaceButton", reason or at_start)
        self._refresh_list(places)
        self._refresh_map()

    def _refresh_list(self, places: list[ReviewPlace]) -> None:
        places_list = self.ui.placesList
        places_list.blockSignals(True)
        for index, place in enumerate(places):
            places_list.item(index).setText(_line(index + 1, place))
        if self._review is not None and self._review.current is not None:
            places_list.setCurrentRow(self._review.current)
        places_list.blockSignals(False)

    def _refresh_map(self) -> None:
        box = self.ui.confidenceMapCheckBox
        box.blockSignals(True)
        box.checked = self._node is not None and is_confidence_map_shown(self._node)
        box.blockSignals(False)
        reason = ""
        if self._node is None:
            reason = _("There is no result yet.")
        elif confidence_map_of(self._node) is None:
            reason = _("This result has no confidence map; a scene keeps it only if it is saved as one .mrb file.")
        self._enable("confidenceMapCheckBox", reason)

    def _enable(self, name: str, reason_against: str) -> None:
        control = getattr(self.ui, name)
        control.enabled = not reason_against
        control.toolTip = reason_against or self._usual_tips[name]

    def _sentence(self, places: list[ReviewPlace]) -> str:
        looked_at = self._review.visited_count
        if looked_at == len(places):
            return _("All {count} doubtful places were looked at.").format(count=len(places))
        return _("{looked_at} of {count} doubtful places looked at; next: {place}.").format(
            looked_at=looked_at, count=len(places), place=_bone(places[self._review.upcoming])
        )

    def _reason_against(self, places: list[ReviewPlace]) -> str:
        if self._node is None:
            return _("When there is a result, the places where the network was least sure are listed here.")
        if not places:
            return _("No doubtful places are known for {name}.").format(name=self._node.GetName())
        return ""

    def _on_next(self, checked: bool = False) -> None:
        self._review.next()
        self._refresh()

    def _on_back(self, checked: bool = False) -> None:
        self._review.back()
        self._refresh()

    def _on_selected(self) -> None:
        items = self.ui.placesList.selectedItems()
        if items:
            self._review.go_to(self.ui.placesList.row(items[0]))
            self._refresh()

    def _on_activated(self, item=None) -> None:
        self._on_selected()

    def _on_map_toggled(self, checked: bool) -> None:
        show_confidence_map(self._node, checked)

    @calldata_type(VTK_OBJECT)
    def _on_node_removed(self, caller, event, node) -> None:
        if node is self._node:
            self.show(None)
        elif node.IsA("vtkMRMLScalarVolumeNode"):
            self._refresh_map()


def _line(number: int, place: ReviewPlace) -> str:
    """One place in the list."""
    words = {"number": number, "bone": _bone(place), "doubt": _degree(place.doubt), "percent": round(100 * place.doubt)}
    if place.visited:
        return _("{number}. {bone}: {doubt} ({percent} %), looked at").format(**words)
    return _("{number}. {bone}: {doubt} ({percent} %)").format(**words)


def _bone(place: ReviewPlace) -> str:
    return place.bone or _("no bone found here")


def _degree(doubt: float) -> str:
    if doubt >= _VERY_DOUBTFUL:
        return _("very doubtful")
    return _("doubtful") if doubt >= _DOUBTFUL else _("slightly doubtful")
