"""Makes PySide6 look like the PythonQt of Slicer, as far as our panels use it, under the names ``qt`` and ``ctk``.

PythonQt gives properties as attributes (``button.text = "OK"``), widgets a ``name``, and connects by the name of a
signal. Each Qt class gets a subclass that does so; .ui files are loaded with these subclasses and with stand-ins for
Slicer's own widgets. Ordinary PySide code no longer works with such objects, so the bench has a process of its own.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType
from typing import ClassVar

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import Signal
from slicer_stand_ins import QSettings

# PySide6 6.12 takes a reference from None with each call that gives nothing back, and Python aborts when none is left.
# From Python 3.12 on None cannot die.
if sys.version_info < (3, 12):
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def _with_properties(cls: type) -> type:
    """A subclass with each Qt property, inherited ones too, as a Python property."""
    meta = cls.staticMetaObject
    names = {meta.property(i).name(): meta.property(i).name() for i in range(meta.propertyCount())}
    names["name"] = "objectName"
    members = {name: _attribute(qt_name) for name, qt_name in names.items()}
    # Qt's own code asks these of a subclass first; reading them by name would then go on for ever.
    members |= {name: property(getattr(cls, name)) for name in ("sizeHint", "minimumSizeHint") if name in names}
    # PySide gives every further subclass its own connect, too.
    members |= {"connect": _connect, "__init_subclass__": classmethod(lambda sub: setattr(sub, "connect", _connect))}
    return type(cls)(cls.__name__, (cls,), members)


def _attribute(name: str) -> property:
    def write(self, value) -> None:
        assert QtCore.QObject.setProperty(self, name, value), f"{name} cannot be {value!r}"

    return property(lambda self: QtCore.QObject.property(self, name), write)


def _connect(self, signature: str, function) -> bool:
    getattr(self, signature.partition("(")[0]).connect(function)
    return True


QT = {
    name: _with_properties(kind)
    for name in dir(QtWidgets)
    if isinstance(kind := getattr(QtWidgets, name), type) and issubclass(kind, QtWidgets.QWidget)
}
QTimer = _with_properties(QtCore.QTimer)
QAction = _with_properties(QtGui.QAction)


class ctkCollapsibleButton(QT["QGroupBox"]):
    """A box with a heading that shows or hides what is in it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        #: As in ctk's, what was hidden for a reason of its own stays so when the section is opened.
        self._hidden: set[QtWidgets.QWidget] = set()
        self._is_folding = False
        # As ctk's: unless the .ui file says otherwise it cannot become narrower than it would like to be.
        QtWidgets.QWidget.setSizePolicy(self, QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        QtWidgets.QWidget.setStyleSheet(self, "ctkCollapsibleButton { font-weight: bold; }")

    def _set_text(self, text: str) -> None:
        self._text = text
        self._show_contents()

    def _set_collapsed(self, collapsed: bool) -> None:
        changed = collapsed != self._collapsed
        self._collapsed = collapsed
        self._show_contents()
        if changed:
            self.contentsCollapsed.emit(collapsed)

    def _show_contents(self) -> None:
        self._is_folding = True
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            QtWidgets.QWidget.setVisible(child, not self._collapsed and child not in self._hidden)
        self._is_folding = False
        QtWidgets.QGroupBox.setTitle(self, f"{'▸' if self._collapsed else '▾'} {self._text}")
        QtWidgets.QGroupBox.setMaximumHeight(self, 24 if self._collapsed else (1 << 24) - 1)

    def childEvent(self, event) -> None:
        """What the .ui file adds to a section that is closed from the start."""
        super().childEvent(event)
        child = event.child()
        if event.type() == QtCore.QEvent.ChildAdded and child.isWidgetType():
            child.installEventFilter(self)
        elif event.type() == QtCore.QEvent.ChildRemoved:
            self._hidden.discard(child)
        if self._collapsed:
            QtCore.QTimer.singleShot(0, self._show_contents)

    def eventFilter(self, watched, event) -> bool:
        if not self._is_folding:
            if event.type() == QtCore.QEvent.HideToParent:
                self._hidden.add(watched)
            elif event.type() == QtCore.QEvent.ShowToParent:
                self._hidden.discard(watched)
        return False

    text = QtCore.Property(str, lambda self: self._text, _set_text)
    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _set_collapsed)


class QTableWidget(QT["QTableWidget"]):
    """The header that Qt would make would be none of the classes above."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        header = QT["QHeaderView"](QtCore.Qt.Horizontal, self)
        header.setSectionsClickable(True)
        header.setHighlightSections(True)
        self.setHorizontalHeader(header)


QT["QTableWidget"] = QTableWidget


class ctkPathLineEdit(QT["QLineEdit"]):
    """Says nothing of a path that is empty but that it is no valid input, as ctk's."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._was_valid = False
        self.textChanged.connect(self._on_text)

    def _on_text(self, text: str) -> None:
        if bool(text) != self._was_valid:
            self._was_valid = bool(text)
            self.validInputChanged.emit(self._was_valid)
        if text:
            self.currentPathChanged.emit(text)

    currentPath = property(lambda self: self.text, lambda self, value: setattr(self, "text", value))


class qMRMLWidget(QT["QWidget"]):
    def setMRMLScene(self, scene) -> None:
        """Hands the scene on, as the connections in the .ui file do in Slicer."""
        for child in self.findChildren(QtWidgets.QWidget):
            if hasattr(child, "setMRMLScene"):
                child.setMRMLScene(scene)


class qMRMLNodeComboBox(QT["QComboBox"]):
    """Lists the scene's nodes of its types. As Qt's own it chooses the first row that comes into an empty list, and the
    neighbour of the chosen one that goes."""

    currentNodeChanged = Signal()

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._scene, self._observers = None, []
        self.currentIndexChanged.connect(lambda index: self.currentNodeChanged.emit())

    def setMRMLScene(self, scene) -> None:
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._scene, self._observers = scene, []
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
                self._observers.append(scene.AddObserver(event, lambda caller, event: self._fill()))
            self._fill()

    def currentNode(self):
        index = QtWidgets.QComboBox.currentIndex(self)
        node_id = QtWidgets.QComboBox.itemData(self, index) if index >= 0 else None
        return self._scene.GetNodeByID(node_id) if node_id else None

    def setCurrentNode(self, node) -> None:
        index = QtWidgets.QComboBox.findData(self, node.GetID()) if node else 0
        QtWidgets.QComboBox.setCurrentIndex(self, index if node or self._offers_none() else -1)

    def _offers_none(self) -> bool:
        return bool(self.property("noneEnabled"))

    def _fill(self) -> None:
        before, count, index = self.currentNode(), self.count, QtWidgets.QComboBox.currentIndex(self)
        was_chosen = bool(index >= 0 and QtWidgets.QComboBox.itemData(self, index))
        self.blockSignals(True)
        QtWidgets.QComboBox.clear(self)
        if self._offers_none():
            QtWidgets.QComboBox.addItem(self, self.property("noneDisplay") or "None", "")
        for kind in self.property("nodeTypes"):
            nodes = self._scene.GetNodesByClass(kind)
            nodes.UnRegister(None)
            for node in (nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())):
                QtWidgets.QComboBox.addItem(self, node.GetName(), node.GetID())
        self.setCurrentNode(before if before and before.GetScene() else None)
        if self.currentNode() is None and (was_chosen or not (count or self._offers_none())):
            QtWidgets.QComboBox.setCurrentIndex(self, min(max(index, 0), self.count - 1))
        self.blockSignals(False)
        if (was_chosen and before is None) or self.currentNode() is not before:
            self.currentNodeChanged.emit()


class qMRMLSegmentEditorWidget(QT["QWidget"]):
    """Keeps what it was told; like Slicer's it writes its choices into the editor node, and remembers for undo what
    the segmentation was that is in it, until another one is."""

    def __init__(self, parent=None) -> None:
        import slicer

        super().__init__(parent)
        self.calls: list[str] = []
        self.node = None
        self.history = slicer.vtkSegmentationHistory()
        QtWidgets.QVBoxLayout(self)
        QtWidgets.QWidget.layout(self).addWidget(QtWidgets.QLabel("(Slicer's Segment Editor)"))

    def setMRMLScene(self, scene) -> None:
        self.calls.append("setMRMLScene")

    def setMRMLSegmentEditorNode(self, node) -> None:
        self.node = node
        self._follow()

    def setSegmentationNode(self, node) -> None:
        self.node.SetAndObserveSegmentationNode(node)
        self._follow()

    def _follow(self) -> None:
        segmentation_node = self.node.GetSegmentationNode()
        self.history.SetSegmentation(segmentation_node and segmentation_node.GetSegmentation())

    def setSourceVolumeNode(self, node) -> None:
        self.node.SetAndObserveSourceVolumeNode(node)

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self.calls.append("setMaximumNumberOfUndoStates")

    segmentationNodeSelectorVisible = sourceVolumeNodeSelectorVisible = True

    def setActiveEffect(self, effect) -> None:
        assert effect is None
        self.calls.append("setActiveEffect")

    def saveStateForUndo(self) -> None:
        self.history.SaveState()

    def undo(self) -> None:
        self.history.RestorePreviousState()

    def installKeyboardShortcuts(self) -> None:
        self.calls.append("installKeyboardShortcuts")

    def uninstallKeyboardShortcuts(self) -> None:
        self.calls.append("uninstallKeyboardShortcuts")

    def setupViewObservations(self) -> None:
        self.calls.append("setupViewObservations")

    def removeViewObservations(self) -> None:
        self.calls.append("removeViewObservations")


class QFileDialog:
    """Answers what the test put into ``answer``; PythonQt gives a plain string (or a list of them)."""

    answer: object = ""

    @classmethod
    def _reply(cls, *arguments, **keywords):
        return cls.answer

    getOpenFileName = getOpenFileNames = getSaveFileName = getExistingDirectory = _reply


class Application:
    """``qt.QApplication``; the off-screen platform has a clipboard of its own that no other test can disturb."""

    clipboard = staticmethod(QtWidgets.QApplication.clipboard)
    font, setFont = staticmethod(QtWidgets.QApplication.font), staticmethod(QtWidgets.QApplication.setFont)
    style = staticmethod(QtWidgets.QApplication.style)


class QDesktopServices:
    """Keeps what the desktop would have opened."""

    opened: ClassVar[list[str]] = []

    @classmethod
    def openUrl(cls, url) -> bool:
        cls.opened.append(url.toLocalFile() or url.toString())
        return True


class _Loader(QtUiTools.QUiLoader):
    """Creates the classes above in place of Qt's own."""

    CLASSES = QT | {
        kind.__name__: kind for kind in (ctkCollapsibleButton, ctkPathLineEdit, qMRMLWidget, qMRMLNodeComboBox)
    }

    def createWidget(self, name, parent=None, object_name=""):
        widget = self.CLASSES[name](parent)
        widget.setObjectName(object_name)
        return widget


def load_ui(path: str):
    return _Loader().load(path)


def install() -> None:
    """Provide ``qt``, ``ctk`` and Slicer's widgets and GUI functions."""
    import slicer

    qt, ctk = ModuleType("qt"), ModuleType("ctk")
    vars(qt).update(QT, QTimer=QTimer, QAction=QAction, Qt=QtCore.Qt, QFileDialog=QFileDialog)
    for name in ("QTableWidgetItem", "QListWidgetItem", "QTreeWidgetItem", "QGridLayout", "QStyle"):
        setattr(qt, name, getattr(QtWidgets, name))
    for name in (
        "QBrush",
        "QColor",
        "QPalette",
        "QIcon",
        "QPixmap",
        "QImage",
        "QKeySequence",
        "QShortcut",
        "QTextCursor",
    ):
        setattr(qt, name, getattr(QtGui, name))
    qt.QSettings, qt.QApplication, qt.QLocale = QSettings, Application, QtCore.QLocale
    qt.QCoreApplication, qt.QTranslator = QtCore.QCoreApplication, QtCore.QTranslator
    slicer.app.translate = QtCore.QCoreApplication.translate
    qt.QDesktopServices, qt.QUrl = QDesktopServices, QtCore.QUrl
    vars(ctk).update(ctkCollapsibleButton=ctkCollapsibleButton, ctkPathLineEdit=ctkPathLineEdit)
    sys.modules |= {"qt": qt, "ctk": ctk}
    slicer.qMRMLWidget, slicer.qMRMLNodeComboBox = qMRMLWidget, qMRMLNodeComboBox
    slicer.qMRMLSegmentEditorWidget = qMRMLSegmentEditorWidget
    slicer.util.loadUI = load_ui
    slicer.util.resetThreeDViews = lambda: None
    # In testing mode Slicer's dialogs answer themselves: what was asked is kept for the test to read.
    for name in ("confirmOkCancelDisplay", "confirmYesNoDisplay", "errorDisplay", "infoDisplay", "warningDisplay"):
        setattr(slicer.util, name, _dialog(name))


#: (function, text) of every dialog that Slicer would have shown; the newest last.
DIALOGS: list[tuple[str, str]] = []


def _dialog(name: str):
    def show(text, *arguments, **keywords) -> bool:
        DIALOGS.append((name, text))
        return True

    return show
