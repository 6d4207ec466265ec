"""Exits with 1 unless a module's script defines or imports the test case that Slicer looks for there."""

import ast
import sys
from pathlib import Path

script = Path(sys.argv[1])
tree = ast.parse(script.read_text(encoding="utf-8"))
names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
names |= {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
sys.exit(f"{script.stem}Test" not in names)
