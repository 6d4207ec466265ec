"""Text out of files that anybody may have written, before a person sees it."""

from __future__ import annotations

import html
import re
from typing import Any

#: Control characters but for tab and end of line, halves of characters, and those that turn the order of what follows,
#: so that a text reads otherwise than it is.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """``text`` with the characters that would command a terminal or turn the order of letters replaced by "\ufffd"."""
    return _HARMFUL.sub("\ufffd", text.replace("\r\n", "\n"))


def harmless_values(values: Any) -> Any:
    """JSON values with every text in them made :func:`harmless`."""
    if isinstance(values, str):
        return harmless(values)
    if isinstance(values, list):
        return [harmless_values(value) for value in values]
    if isinstance(values, dict):
        return {harmless(key): harmless_values(value) for key, value in values.items()}
    return values


def tool_tip(text: str) -> str:
    """``text`` for a tool tip, which Qt would otherwise take for HTML where it looks like it, and open the pictures."""
    return f"<qt>{html.escape(text)}</qt>" if "<" in text else text
