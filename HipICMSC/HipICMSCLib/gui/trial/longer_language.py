"""A language whose words are by a third longer than English, as translations are, spoken by our panels for a while.

It is a translation as Qt knows it: a .qm file with each text that the files of a module offer for translation. Only
what is made while it is spoken has its words, so a panel must be reloaded for it, and again afterwards.
"""

from __future__ import annotations

import ast
import contextlib
import struct
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import qt

# Of Qt's format .qm: its first bytes, its two sections, and the parts of a message.
_MAGIC = bytes.fromhex("3cb86418caef9c95cd211cbf60a1bddd")
_HASHES, _MESSAGES = 0x42, 0x69
_END, _TRANSLATION, _SOURCE, _CONTEXT = 1, 3, 6, 7


def longer(text: str) -> str:
    """What the language says for an English text; what is to be filled in stays."""
    return text and text + " lang" * max(1, round(0.3 * len(text) / 5))


@contextlib.contextmanager
def longer_language(*folders: Path) -> Iterator[None]:
    """Let Slicer speak it where our texts are concerned.

    Args:
        folders: where the files of a module lie.
    """
    translator = qt.QTranslator()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "longer.qm"
        path.write_bytes(_qm({text for folder in folders for text in texts_of(folder)}))
        if not translator.load(str(path)):
            raise OSError("Qt does not read the translation.")
        qt.QCoreApplication.installTranslator(translator)
        try:
            yield
        finally:
            qt.QCoreApplication.removeTranslator(translator)


def texts_of(folder: Path) -> set[tuple[str, str]]:
    """(context, text) of all that our files in a module's folder offer for translation."""
    found = set()
    for path in folder.glob("Resources/UI/HipICMSC*.ui"):
        root = ElementTree.parse(path).getroot()
        kept = {text for parent in root.iter() if parent.get("notr") == "true" for text in parent.iter("string")}
        texts = (element.text for element in root.iter("string") if element not in kept)
        found |= {(root.findtext("class"), text) for text in texts if text}
    for path in (*folder.glob("HipICMSC*.py"), *folder.glob("HipICMSC*Lib/gui/**/*.py")):
        is_in_package = (path.parent / "__init__.py").is_file()
        context = f"{path.parent.name}.{path.stem}" if is_in_package else path.stem
        found |= {(context, text) for text in _marked(ast.parse(path.read_text(encoding="utf-8")))}
    return found


def _marked(tree: ast.AST) -> Iterator[str]:
    """What stands in _()."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            yield ast.literal_eval(node.args[0])


def _qm(texts: set[tuple[str, str]]) -> bytes:
    messages, places = b"", []
    for context, text in sorted(texts):
        source = text.encode()
        places.append((_hash(source), len(messages)))
        for tag, data in (
            (_TRANSLATION, longer(text).encode("utf-16-be")),
            (_SOURCE, source),
            (_CONTEXT, context.encode()),
        ):
            messages += struct.pack(">BI", tag, len(data)) + data
        messages += bytes([_END])
    hashes = b"".join(struct.pack(">II", *place) for place in sorted(places))
    sections = ((_HASHES, hashes), (_MESSAGES, messages))
    return _MAGIC + b"".join(struct.pack(">BI", tag, len(data)) + data for tag, data in sections)


def _hash(source: bytes) -> int:
    """Qt's: that of ELF files."""
    value = 0
    for byte in source:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value or 1
