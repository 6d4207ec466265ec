"""Synthetic hips: pelves with both hip joints as CT and as MR, with the truth, from a seed.

Start with ``subject.make_ct``, ``subject.make_mri`` (one subject) and ``dataset.write_dataset`` (a folder).

May import HipICMSCLib alone.
"""
