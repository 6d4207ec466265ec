"""Stands in for the parts of Slicer's Python that slicer-core lacks, so that our module files load as they are.

No Qt is needed here; Testing/gui adds it. MRML is never stood in for: it comes from slicer-core.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import typing
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace

REPOSITORY = Path(__file__).resolve().parents[1]


#: What is connected to signals of ``slicer.app``, by the signal's name, for the test to call.
APP_SIGNALS: dict[str, list] = {}


def install(app) -> None:
    """Make ``slicer`` complete enough for our modules, on the scene of a trame_slicer app."""
    import slicer

    slicer.mrmlScene = app.scene
    slicer.app = SimpleNamespace(
        processEvents=lambda: None,
        applicationVersion="5.13.0",
        revision="34567",
        startupEnvironment=StartupEnvironment,
        testingEnabled=lambda: True,
        commandOptions=lambda: SimpleNamespace(noMainWindow=False),
        layoutManager=lambda: None,
        translate=lambda context, text: text,
        topLevelWidgets=lambda: [],
        connect=lambda signal, function: APP_SIGNALS.setdefault(signal, []).append(function),
        disconnect=lambda signal, function: APP_SIGNALS[signal].remove(function),
    )
    plots_logic = slicer.vtkSlicerPlotsLogic()
    plots_logic.SetMRMLScene(app.scene)
    plots_logic.SetMRMLApplicationLogic(app.app_logic)
    slicer.modules = SimpleNamespace(
        volumes=SimpleNamespace(logic=lambda: app.volumes_logic),
        segmentations=SimpleNamespace(logic=lambda: app.segmentations_logic),
        plots=SimpleNamespace(logic=lambda: plots_logic),
        markups=SimpleNamespace(logic=lambda: app.markups_logic),
    )
    for name in ("qt", "ctk"):
        # Panels import them when they are loaded; the bench of Testing/gui puts real classes in.
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules["qt"].QSettings = QSettings
    _provide("slicer.i18n", tr=tr, translate=lambda context, text: slicer.app.translate(context, text))
    _provide("slicer.ScriptedLoadableModule", **{kind.__name__: kind for kind in _BASES})
    _provide("slicer.parameterNodeWrapper", parameterNodeWrapper=parameterNodeWrapper, Choice=Choice)


def tr(text: str) -> str:
    """Translate a text of the file that asks, under the name that Slicer gives it: in a package with its folder's."""
    import slicer

    path = Path(sys._getframe(1).f_code.co_filename)
    is_in_package = (path.parent / "__init__.py").is_file()
    return slicer.app.translate(f"{path.parent.name}.{path.stem}" if is_in_package else path.stem, text)


def module_file(name: str) -> Path:
    return REPOSITORY / name / f"{name}.py"


def load_module(name: str) -> ModuleType:
    """Read a module's file as Slicer does."""
    spec = importlib.util.spec_from_file_location(name, module_file(name))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _provide(name: str, **contents) -> None:
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(contents)
    package, _, last = name.rpartition(".")
    setattr(sys.modules[package], last, module)


class StartupEnvironment:
    """The QProcessEnvironment that Slicer was started in: what this process was started in."""

    _variables: typing.ClassVar[dict[str, str]] = dict(os.environ)

    def keys(self) -> list[str]:
        return list(self._variables)

    def value(self, key: str) -> str:
        return self._variables[key]


class QSettings:
    """Slicer's settings, forgotten with the process."""

    values: typing.ClassVar[dict[str, object]] = {}

    def value(self, key: str, default=None):
        return self.values.get(key, default)

    def setValue(self, key: str, value) -> None:
        self.values[key] = value

    def remove(self, key: str) -> None:
        self.values.pop(key, None)


class ScriptedLoadableModule:
    def __init__(self, parent) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    """``parent`` is a widget with a layout, made by whoever opens the panel."""

    def __init__(self, parent) -> None:
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def setup(self) -> None:
        pass

    def onReload(self) -> None:
        import slicer

        slicer.util.reloadScriptedModule(self.moduleName)

    def resourcePath(self, name: str) -> str:
        return str(module_file(self.moduleName).parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def __init__(self) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        import slicer

        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message: str, requestedDelay=None, msec=None) -> None:
        import slicer

        slicer.util.delayDisplay(message, getattr(self, "messageDelay", msec or requestedDelay or 100))


_BASES = (
    ScriptedLoadableModule,
    ScriptedLoadableModuleWidget,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)


class Choice:
    def __init__(self, choices: list) -> None:
        self.choices = choices


def parameterNodeWrapper(cls: type) -> type:
    """Typed properties of a real vtkMRMLScriptedModuleNode: nodes as references, strings and paths as parameters."""
    hints = typing.get_type_hints(cls, include_extras=True)
    members = {name: _parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    return type(cls.__name__, (_ParameterNode,), {**members, "allParameters": hints, "__doc__": cls.__doc__})


def _parameter(name: str, hint, default) -> property:
    import slicer

    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    if issubclass(kind, slicer.vtkMRMLNode):

        def read(self):
            return self.parameterNode.GetNodeReference(name)

        def write(self, value) -> None:
            assert value is None or isinstance(value, kind)
            self.parameterNode.SetNodeReferenceID(name, value and value.GetID())

    else:
        default = kind() if default is None else default

        def read(self):
            text = self.parameterNode.GetParameter(name)
            if not text:
                return default
            return text == "True" if kind is bool else kind(text)

        def write(self, value) -> None:
            assert isinstance(value, kind), f"{name}: {value!r}"
            self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


class _ParameterNode:
    """Binds widgets as Slicer does: by their dynamic property, and only exact widget classes that fit the type."""

    def __init__(self, node) -> None:
        self.parameterNode = node
        self._bound: dict[str, object] = {}
        self._showing = False

    def AddObserver(self, *arguments):
        return self.parameterNode.AddObserver(*arguments)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def connectGui(self, ui) -> int:
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if name:
                self._bound[name] = _connector(widget, self.allParameters[name])
        self._show()
        for name, connector in self._bound.items():
            connector.listen(lambda name=name, connector=connector: self._take(name, connector))
        return self.AddObserver("ModifiedEvent", lambda caller, event: self._show())

    def disconnectGui(self, tag: int) -> None:
        for connector in self._bound.values():
            connector.changed = None
        self._bound = {}
        self.RemoveObserver(tag)

    def _take(self, name: str, connector) -> None:
        if not self._showing:
            setattr(self, name, connector.read())

    def _show(self) -> None:
        if self._showing:
            return
        self._showing = True
        try:
            for name, connector in self._bound.items():
                connector.write(getattr(self, name))
        finally:
            self._showing = False


def _connector(widget, hint):
    """Slicer refuses a widget whose exact class it does not know for the type."""
    import ctk
    import qt
    import slicer

    kind, choices = hint, None
    if typing.get_origin(hint) is typing.Annotated:
        kind, choice = typing.get_args(hint)
        choices = choice.choices
    if type(widget) is slicer.qMRMLNodeComboBox and issubclass(kind, slicer.vtkMRMLNode):
        return _Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    if type(widget) is ctk.ctkPathLineEdit and kind is Path:
        return _PropertyConnector(widget, "currentPathChanged", "currentPath", Path)
    if type(widget) is qt.QCheckBox and kind is bool:
        return _PropertyConnector(widget, "toggled", "checked", bool)
    if type(widget) is qt.QComboBox and kind is str and choices:
        widget.clear()
        widget.addItems(choices)
        return _PropertyConnector(widget, "currentIndexChanged", "currentText", str)
    raise RuntimeError(f"Slicer cannot bind {kind} to {type(widget)}")


class _Connector:
    def __init__(self, widget, signal: str, read, write) -> None:
        self.read, self.write, self.changed = read, write, None
        widget.connect(signal, lambda *values: self.changed and self.changed())

    def listen(self, changed) -> None:
        self.changed = changed


class _PropertyConnector(_Connector):
    def __init__(self, widget, signal: str, name: str, kind: type) -> None:
        def write(value) -> None:
            setattr(widget, name, value if kind is bool else str(value))

        super().__init__(widget, signal, lambda: kind(getattr(widget, name)), write)
