"""What a person calls a setting."""

from __future__ import annotations

import re
from collections.abc import Container

#: Parts of names that a person writes in another way.
_WORDS = {
    "cmsc": "CMSC", "ct": "CT", "deg": "degrees", "ema": "EMA", "gan": "GAN", "hu": "HU", "imsc": "IMSC", "mr": "MR",
    "stage1": "stage 1", "stage2": "stage 2",
}  # fmt: skip
#: Settings of one word are words of any sentence, too.
_NAME = re.compile(r"\b[a-z][a-z0-9]*(?:[._][a-z0-9]+)+\b")


def title_of(name: str) -> str:
    words = [_WORDS.get(word, word) for word in name.rpartition(".")[2].split("_")]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def with_titles(text: str, names: Container[str]) -> str:
    """A text with the settings of these names called as the form calls them."""
    return _NAME.sub(lambda found: f"'{title_of(found[0])}'" if found[0] in names else found[0], text)
