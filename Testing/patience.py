"""How long a test waits for what always comes."""

from __future__ import annotations

#: Seconds. It only keeps a test that hangs from hanging for ever; how fast something is, no test claims. Shorter than
#: the sleep (600 s) of the processes that tests want to see ended.
PATIENCE = 500.0
