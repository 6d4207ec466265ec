"""What a run has learned: the last checkpoint, from which a resume goes on, and the weights with the best score.

torch is imported only where weights are read or written, because Slicer's own process, which watches, must not load it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing, write_text
from HipICMSCLib.common.foreign_files import open_file

from HipICMSCTrainingLib.run.files import about_weights, check_checkpoint, checked_selection, damaged_checkpoint

if TYPE_CHECKING:
    import torch


class Checkpoints:
    """The files of RUN/checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last_file = folder / "last.pt"
        self.selected_file = folder / "selected.safetensors"
        #: What teaches in self-training, once it has begun.
        self.lessons_file = folder / "lessons.safetensors"

    def save(self, state: dict[str, Any]) -> None:
        import torch

        with replacing(self.last_file) as beside:
            torch.save(state, beside)

    def last(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU, or None; only tensors and plain values are ever loaded.

        Raises:
            HipError: ``damaged_checkpoint``.
        """
        import torch

        from HipICMSCTrainingLib.run.checkpoint_state import check_tensors

        path = self.last_file
        if not path.exists():
            return None
        check_checkpoint(path)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            check_tensors(state)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise damaged_checkpoint(path, str(error)) from error
        return state

    def save_selected(self, networks: dict[str, torch.nn.Module], about: dict[str, Any]) -> None:
        """Keep the weights with the best label-free score, and what they scored."""
        from safetensors.torch import save

        weights = {
            f"{name}/{key}": value.contiguous()
            for name, network in networks.items()
            for key, value in network.state_dict().items()
        }
        with replacing(self.selected_file) as beside:
            beside.write_bytes(save(weights, metadata={"about": json.dumps(about)}))
        write_text(self.folder / "selected.json", json.dumps(about, indent=2) + "\n")

    def selection(self) -> dict[str, Any] | None:
        """``step``, ``weights`` and ``scores`` of the selected weights, or None before the first scores.

        They are read in the file of the weights, so that they always belong to these.

        Raises:
            HipError: ``damaged_run``.
        """
        path = self.selected_file
        try:
            return checked_selection(about_weights(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise HipError("damaged_run", f"{path} cannot be read.", str(error)) from error

    def selected(self) -> dict[str, dict[str, torch.Tensor]] | None:
        """State dictionaries by network name, or None before the first scores.

        Raises:
            HipError: ``damaged_checkpoint``.
        """
        from safetensors.torch import load_file

        path = self.selected_file
        if not path.exists():
            return None
        try:
            # What is no file would be waited for for ever.
            open_file(path).close()
            weights = load_file(path)
        except Exception as error:  # safetensors raises its own kinds
            raise HipError("damaged_checkpoint", f"{path} is damaged; resume the run.", str(error)) from error
        networks: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in weights.items():
            network, _, key = name.partition("/")
            networks.setdefault(network, {})[key] = value
        return networks
