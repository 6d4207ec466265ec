"""README's tutorials say word by word what is on the screen; the map of tests names tests that there are."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIALS = (
    "Tutorial: from an MRI to a corrected segmentation in Slicer",
    "Tutorial: your own model, retrained from within Slicer",
)
#: What of the libraries says something to a user.
ROOMS = ("gui", "worker", "methods")
#: What stands on the screen, but is Slicer's own or the name of a module, a preset, a method or a setting.
OTHERS = {
    "Additional module paths", "Data", "Edit › Application Settings › Modules", "PyTorch", "Sample Data › HipICMSC",
    "Segmentation › HipICMSC", "Segmentation › HipICMSC Training", "Target model", "Undo", "completed",
    "contrast_prior", "cpu-small", "paper", "smoke",
}  # fmt: skip


def plain(text: str) -> str:
    """Without the marks of keys, and without what ends a label or a sentence."""
    return re.sub(r"&(?!&)", "", text).strip().rstrip("…:.").strip()


def on_screen() -> tuple[set[str], list[re.Pattern]]:
    """Texts of the panels: those that stand as they are, and those with something filled in."""
    texts = set()
    for ui in REPOSITORY.glob("*/Resources/UI/*.ui"):
        texts |= {plain(element.text) for element in ElementTree.parse(ui).iter("string") if element.text}
    for source in (file for room in ROOMS for file in REPOSITORY.glob(f"*/*Lib/{room}/**/*.py")):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        texts |= {
            plain(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = ["{}" if isinstance(part, ast.FormattedValue) else part.value for part in node.values]
                texts.add(plain("".join(parts)))
    filled = [text for text in texts if "{" in text]
    patterns = [re.compile(".+".join(map(re.escape, re.split(r"\{[^}]*\}", text)))) for text in filled]
    # One that is hardly more than what is filled in would fit anything.
    return texts, [pattern for pattern in patterns if len(re.findall("[A-Za-z]", pattern.pattern)) > 4]


@pytest.mark.parametrize("title", TUTORIALS)
def test_what_the_tutorial_names_is_on_the_screen(title):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(title)}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    phrases = [" ".join(words.split()) for words in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", section)]
    named = [words for phrase in phrases for words in ([phrase] if phrase in OTHERS else phrase.split(" › "))]
    texts, patterns = on_screen()
    unknown = [
        words
        for words in named
        if words not in OTHERS and plain(words) not in texts and not any(p.fullmatch(plain(words)) for p in patterns)
    ]
    assert len(named) > 10 and unknown == []


def test_the_map_of_what_was_seen_in_slicer_names_tests_that_there_are():
    text = (REPOSITORY / "Testing" / "gui" / "README.md").read_text(encoding="utf-8")
    where, named = "", set()
    for file, test in re.findall(r"`((?:\w+/)*test_\w+\.py)`|`(test_\w+)`", text):
        where = file or where
        if test:
            # What the modules try in Slicer is named in Slicer's style, without further underscores.
            named.add((where if "_" in test.removeprefix("test_") else "", test))
    missing = [f"{file} {test}" for file, test in named if not is_defined(file, test)]
    assert len(named) > 40 and missing == []


def is_defined(file: str, test: str) -> bool:
    """In the file, or, where none is named, among what the modules try in Slicer."""
    beside = [REPOSITORY / "Testing" / folder / file for folder in ("gui", "")]
    files = [path for path in beside if path.is_file()] if file else REPOSITORY.glob("HipICMSC*/*Lib/gui/own_tests.py")
    return any(f"def {test}(" in path.read_text(encoding="utf-8") for path in files)
