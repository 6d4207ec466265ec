"""Reads what a training reports, line by line, while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.run.files import line_of_metrics, open_metrics


class MetricsReader:
    """Reads a run's metrics as they come, each line once.

    Attributes:
        restarted: whether the last call of :meth:`new_lines` began from the first line again, because a resumed
            training dropped some of those that were read before. Whoever kept them must forget them.
    """

    def __init__(self, file: Path) -> None:
        self.restarted = False
        self._path = file
        self._offset = 0
        self._last_line = b""

    def new_lines(self) -> list[dict[str, Any]]:
        """Complete lines that were not read before; one that is just being written waits for the next call.

        Raises:
            HipError: ``unreadable``.
        """
        try:
            with open_metrics(self._path) as file:
                self.restarted = not self._still_as_read(file)
                if self.restarted:
                    self._offset, self._last_line = 0, b""
                file.seek(self._offset)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            self.restarted = self._offset > 0
            self._offset, self._last_line = 0, b""
            return []
        except OSError as error:
            raise HipError("unreadable", f"{self._path} cannot be read.", str(error)) from error
        if lines:
            self._offset += sum(len(line) + 1 for line in lines)
            self._last_line = lines[-1] + b"\n"
        return [values for values in map(line_of_metrics, lines) if values is not None]

    def _still_as_read(self, file: BinaryIO) -> bool:
        """Whether the last line that was read stands where it stood. After a resume the file may have grown beyond
        that place again, but lines hold measured times, so that another one stands there."""
        file.seek(self._offset - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line
