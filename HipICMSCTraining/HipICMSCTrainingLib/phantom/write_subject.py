"""Writes one synthetic subject into two files.

``python -m HipICMSCTrainingLib.phantom.write_subject MR|CT SEED SUBJECT IMAGE TRUTH``; needs no torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.images import write_image

from HipICMSCTrainingLib.phantom.subject import make_ct, make_mri

MAKERS = {"CT": make_ct, "MR": make_mri}


def write_subject(modality: str, seed: int, subject: int, image: Path, truth: Path) -> None:
    """Write a subject at full resolution. Whoever finds the image finds its truth, too: it is written first.

    Args:
        modality: key of MAKERS.
        image, truth: files that SimpleITK can write, such as .nrrd; see `PhantomSubject` for what is in them.

    Raises:
        HipError: as `replacing`.
    """
    made = MAKERS[modality](seed, subject)
    for volume, path in ((made.label, truth), (made.image, image)):
        write_image(volume, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modality", choices=sorted(MAKERS))
    parser.add_argument("seed", type=int)
    parser.add_argument("subject", type=int)
    parser.add_argument("image", type=Path)
    parser.add_argument("truth", type=Path)
    chosen = parser.parse_args()
    try:
        write_subject(chosen.modality, chosen.seed, chosen.subject, chosen.image, chosen.truth)
    except HipError as error:
        print(error.sentence, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
