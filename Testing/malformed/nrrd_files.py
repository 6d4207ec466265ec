"""Malformed NRRD files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from malformed.case import Case, Maker, Verdict
from malformed.making import HUGE, INF, NAN, Random, bomb, cut, damaged, one_of, placed, spoiled
from malformed.volumes import nrrd, packed, voxels


def _nrrd(data: Callable[[Random], bytes], verdict: Verdict = "refuse") -> Maker:
    return lambda folder, rng: placed(folder, "mri.nrrd", data(rng), verdict)


def _nrrd_packed(rng: Random) -> bytes:
    return nrrd(packed(voxels().tobytes()), encoding=one_of(rng, "gzip", "gz"))


def _nhdr(
    named: str, beside: str = "", data: Callable[[], bytes] = lambda: voxels().tobytes(), verdict: Verdict = "refuse"
) -> Maker:
    """A header apart from its voxels."""

    def make(folder: Path, rng: Random) -> Case:
        if beside:
            (folder / beside).write_bytes(data())
        return placed(folder, "mri.nhdr", nrrd(b"", data_file=named), verdict)

    return make


MAKERS: dict[str, Maker] = {
    "sound NRRD": _nrrd(
        lambda rng: one_of(rng, nrrd(), _nrrd_packed(rng), nrrd(space="RAS"), nrrd(space="las")), "read"
    ),
    "sound NRRD of big endian": _nrrd(lambda rng: nrrd(voxels().astype(">i2").tobytes(), endian="big"), "read"),
    "text encoding": _nrrd(
        lambda rng: nrrd(" ".join(map(str, voxels().ravel())).encode(), encoding="ascii", endian=None), "either"
    ),
    "hex encoding": _nrrd(lambda rng: nrrd(voxels().tobytes().hex().encode(), encoding="hex"), "either"),
    "NRRD field missing": _nrrd(
        lambda rng: nrrd(
            **{one_of(rng, "type", "dimension", "space", "sizes", "space_directions", "endian", "encoding"): None}
        )
    ),
    "NRRD origin missing": _nrrd(lambda rng: nrrd(space_origin=None), "either"),
    "NRRD type unknown": _nrrd(
        lambda rng: nrrd(type=one_of(rng, "block", "half", "complex", "bool", "", "short short"))
    ),
    "NRRD type larger than the data": _nrrd(lambda rng: nrrd(type=one_of(rng, "double", "float", "int64"))),
    "NRRD encoding unknown": _nrrd(lambda rng: nrrd(encoding=one_of(rng, "bzip2", "zip", "lz4", "base64", "", "RAW!"))),
    "NRRD endian unknown": _nrrd(lambda rng: nrrd(endian=one_of(rng, "middle", "", "pdp"))),
    "NRRD sizes": _nrrd(
        lambda rng: nrrd(
            sizes=one_of(
                rng,
                "100 50",
                "100 50 40 1 1",
                "0 50 40",
                "-100 50 40",
                "1e2 50 40",
                "100 fifty 40",
                "",
                "100 50 41",
                "nan 50 40",
                "99999999999999999999999999 50 40",
            )
        )
    ),
    "NRRD sizes huge": _nrrd(lambda rng: nrrd(sizes=f"{one_of(rng, *HUGE)} 50 40")),
    "NRRD sizes of terabytes": _nrrd(lambda rng: nrrd(sizes="40000 40000 4000", encoding=one_of(rng, "raw", "gzip"))),
    "NRRD smaller than the data": _nrrd(lambda rng: nrrd(sizes=f"100 50 {int(rng.integers(15, 40))}"), "either"),
    "NRRD dimension": _nrrd(
        lambda rng: nrrd(dimension=one_of(rng, "0", "2", "4", "17", "-3", "3.0", "three", str(2**40)))
    ),
    "NRRD space unknown": _nrrd(
        lambda rng: nrrd(
            space=one_of(
                rng, "scanner-xyz", "right-up", "3D-left-handed", "somewhere", "", "left-posterior-superior-time"
            )
        )
    ),
    "NRRD directions": _nrrd(
        lambda rng: nrrd(
            space_directions=one_of(
                rng,
                "(3,0,0) (0,3,0)",
                "(3,0,0) (0,3,0) (0,0,0)",
                "(3,0,0) (3,0,0) (0,0,4)",
                "(3,0,0) (0,3,0) none",
                "(3,0) (0,3) (0,4)",
                "(a,b,c) (0,3,0) (0,0,4)",
                "3 0 0 0 3 0 0 0 4",
                "",
                "(nan,0,0) (0,3,0) (0,0,4)",
                "(inf,0,0) (0,3,0) (0,0,4)",
                "(3,0,0) (1,3,0) (0,0,4)",
                "(1e30,0,0) (0,3,0) (0,0,4)",
                "(3,0,0)(0,3,0)(0,0,4)(0,0,1)",
                "none none none",
            )
        )
    ),
    "NRRD mirrored": _nrrd(lambda rng: nrrd(space_directions="(-3,0,0) (0,3,0) (0,0,4)"), "either"),
    "NRRD origin": _nrrd(
        lambda rng: nrrd(space_origin=one_of(rng, "(0,0)", "(nan,0,0)", "(inf,0,0)", "0 0 0", "", "(0,0,0,0)"))
    ),
    "NRRD space units": _nrrd(lambda rng: nrrd(space_units=one_of(rng, '"m" "m" "m"', '"in" "in" "in"'))),
    "NRRD spacings beside directions": _nrrd(lambda rng: nrrd(spacings="5 5 5"), "either"),
    "NRRD unknown field": _nrrd(lambda rng: nrrd(**{one_of(rng, "colour", "siezs", "tpye", "exec"): "1"})),
    "NRRD field twice": _nrrd(lambda rng: nrrd().replace(b"sizes:", b"sizes: 100 50 20\nsizes:", 1)),
    "NRRD key and value": _nrrd(
        lambda rng: nrrd().replace(b"sizes:", b"patient:=../../x\n# sizes: 1\nsizes:", 1), "read"
    ),
    "NRRD line ends of Windows": _nrrd(lambda rng: nrrd(b"").replace(b"\n", b"\r\n") + voxels().tobytes(), "either"),
    "NRRD wrong magic": _nrrd(lambda rng: nrrd(first=one_of(rng, "NRRD0009", "NRRD", "nrrd0004", "NRRD00.01", ""))),
    "NRRD without end of header": _nrrd(lambda rng: nrrd(b"")[:-2]),
    "NRRD header without end": _nrrd(lambda rng: nrrd(b"")[:-1] + b"# x\n" * 700_000),
    "NRRD byte skip": _nrrd(lambda rng: nrrd(byte_skip=one_of(rng, "-2", "99999999999", "1000", "x", "-1000"))),
    "NRRD byte skip of the rest": _nrrd(lambda rng: nrrd(byte_skip="-1"), "either"),
    "NRRD byte skip, data follow": _nrrd(lambda rng: nrrd(b"abcdefgh" + voxels().tobytes(), byte_skip="8"), "either"),
    "NRRD line skip": _nrrd(lambda rng: nrrd(line_skip=one_of(rng, "1", "-1", "999999999"))),
    "NRRD vectors": _nrrd(
        lambda rng: nrrd(
            voxels().tobytes() * 3,
            dimension="4",
            sizes="3 100 50 40",
            kinds="vector domain domain domain",
            space_directions="none (3,0,0) (0,3,0) (0,0,4)",
        )
    ),
    "NRRD 4-D": _nrrd(
        lambda rng: nrrd(
            voxels().tobytes() * 3,
            dimension="4",
            sizes="100 50 40 3",
            kinds="domain domain domain list",
            space_directions="(3,0,0) (0,3,0) (0,0,4) none",
        )
    ),
    "NRRD data of another place": _nrrd(
        lambda rng: nrrd(
            b"",
            data_file=one_of(
                rng,
                "/etc/passwd",
                "../../../etc/hostname",
                "/dev/zero",
                "/dev/stdin",
                "LIST",
                "slice%03d.raw 1 40 1",
                "",
                ".",
                "..",
                "mri.nrrd/",
                "\\\\server\\share\\x",
                "gone.raw",
                "/proc/self/mem",
            ),
        )
    ),
    "NRRD cut off": _nrrd(lambda rng: cut(nrrd(), rng)),
    "NRRD packed, cut off": _nrrd(lambda rng: cut(_nrrd_packed(rng), rng)),
    "NRRD packed, damaged": _nrrd(lambda rng: damaged(_nrrd_packed(rng), rng), "either"),
    "NRRD extended": _nrrd(lambda rng: nrrd() + rng.bytes(1000), "either"),
    "NRRD bomb": _nrrd(lambda rng: nrrd(bomb(1 << 24, 1024), type="uchar", encoding="gzip", sizes="4096 4096 1024")),
    "bytes of the NRRD header": _nrrd(lambda rng: damaged(nrrd(), rng, 300), "either"),
    "bytes anywhere in NRRD": _nrrd(lambda rng: damaged(nrrd(), rng), "either"),
    "NRRD values not finite": _nrrd(
        lambda rng: nrrd(spoiled(rng, one_of(rng, NAN, INF)).tobytes(), type="float"), "either"
    ),
    "NRRD of a few voxels": _nrrd(lambda rng: nrrd(bytes(16), sizes="2 2 2")),
    "sound NRRD in two files": _nhdr("mri.raw", "mri.raw", verdict="read"),
    "NRRD in two files, cut off": _nhdr("mri.raw", "mri.raw", lambda: voxels().tobytes()[:-100]),
    "NRRD in two files, one gone": _nhdr("mri.raw"),
    "NRRD in two files, a folder between": _nhdr("data/mri.raw"),
    "NRRD that is its own voxels": _nhdr("mri.nhdr"),
}
