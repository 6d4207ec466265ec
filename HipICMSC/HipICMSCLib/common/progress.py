"""How long work tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is being done, or comes next, and with the share of the whole that is done, 0 to 1.
Progress = Callable[[str, float], None]
