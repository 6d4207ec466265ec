"""A bone kept as text comes back to the voxel; a stranger's text gives no bone and takes no more than its place."""

from __future__ import annotations

import base64
import lzma

import numpy as np
import pytest
from HipICMSCLib.anatomy.as_made import as_text, mask_in

SHAPE = (7, 11, 13)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_mask_comes_back(share):
    mask = np.random.default_rng(1).random(SHAPE) < share
    assert np.array_equal(mask_in(as_text(mask), SHAPE), mask)


def test_a_bone_is_short():
    z, y, x = np.indices((40, 120, 120))
    ball = (z - 20) ** 2 * 9 + (y - 60) ** 2 + (x - 60) ** 2 < 50**2
    assert len(as_text(ball)) < 6000
    assert not set(as_text(ball)) & set("|:\n"), "which tags and headers take for their own"


def packed(data: bytes) -> str:
    return f"runs1 7x11x13 {base64.b64encode(lzma.compress(data)).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        "", "runs1", "runs1 7x11x13", "runs1 7x11x13 ?", "runs2 7x11x13 AAAA", packed(b"abc"), packed(b"\0\0\0\1"),
        packed(np.array([1000, 2], "<u4").tobytes()), packed(np.array([2**32 - 1] * 4, "<u4").tobytes()),
        packed(bytes(10**7)), as_text(np.ones((7, 11, 12), bool)), as_text(np.ones(SHAPE, bool))[:-8],
    ],
)  # fmt: skip
def test_what_is_no_mask_of_this_shape_is_none(text):
    assert mask_in(text, SHAPE) is None
