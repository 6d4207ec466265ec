"""Synthetic hips: pelves with both hip joints as CT and as MR, with the truth, from a seed.

Start with ``make_ct``, ``make_mri`` (one subject) and ``write_dataset`` (a folder for training).
"""

from HipICMSCTrainingLib.phantom.dataset import FULL, SMOKE, Resolution, write_dataset
from HipICMSCTrainingLib.phantom.shape import POPULATIONS, HipShape
from HipICMSCTrainingLib.phantom.subject import PhantomSubject, make_ct, make_mri

__all__ = [
    "FULL",
    "POPULATIONS",
    "SMOKE",
    "HipShape",
    "PhantomSubject",
    "Resolution",
    "make_ct",
    "make_mri",
    "write_dataset",
]
