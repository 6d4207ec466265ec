"""The femoral head: the sphere that fits its subchondral surface best, and how far it is from round."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.bone import Bone, Crossings
from HipICMSCLib.measures.rays import sphere_directions
from HipICMSCLib.measures.side import unit

SMALLEST_MM, LARGEST_MM = 18.0, 33.0
BAND_MM = 1.5
#: Nearer than this to the neck's direction (degrees) the surface is neck or junction, not head ...
NECK_CONE = 60.0
#: ... and nearer than this it may be a cam, which must not pull the sphere.
CAM_CONE = 75.0
LEAST_COVER = 0.45
GREATEST_RMS_MM = 1.5
GREATEST_SHIFT_MM = 1.5
# The head is looked for in this much of the upper end of the femur.
_UPPER_END_MM = 90.0
_DRAWS, _DRAWN_FROM, _SEED = 3000, 2500, 20
# Larger spheres than a head's are found, too, and then refused by their size: were they not drawn, a head that is too
# large would be passed over for whatever else is round.
_LARGEST_DRAWN_MM = 45.0
_BINS = sphere_directions(150)


@dataclass(frozen=True)
class Head:
    """A sphere fitted to a femoral head; side coordinates, mm.

    Attributes:
        centre: (3,).
        radius: mm.
        toward_neck: (3,) unit vector, roughly along the neck; good enough to tell head from neck.
        rms, p95: of the distance from the sphere, of the head's surface outside the cone of the neck.
        cover: share of the sphere's directions in which the head's surface was seen, 0 to 1.
        axis_ratio: shortest to longest half axis of an ellipsoid fitted to the same points.
        halves_shift: mm between the centres of spheres fitted to the front and the back half.
    """

    centre: np.ndarray
    radius: float
    toward_neck: np.ndarray
    rms: float
    p95: float
    cover: float
    axis_ratio: float
    halves_shift: float


def head_surface(femur: Bone) -> Crossings:
    """The surface points among which the head is: the femur's upper end, however the grid lies to it."""
    surface = femur.crossings()
    height = surface.points[:, 2]
    return replace(surface, points=surface.points[height > height.max() - _UPPER_END_MM])


def find_head(femur: Bone) -> Head:
    """The head of a femur.

    Raises:
        HipError: ``head_not_found``, ``head_cut``, ``head_incomplete``, ``head_aspherical`` or ``head_size``.
    """
    surface = head_surface(femur)
    centre, radius = _best_of_draws(surface)
    if femur.cut_near(centre, radius):
        raise HipError("head_cut", "The femoral head is cut by the end of the image, so its sphere is not known.")
    voxels = np.argwhere(femur.mask)
    voxels = femur.points(voxels[:: max(1, len(voxels) // 60_000)])
    head = fit_head(surface, centre, radius, _toward_neck(voxels, centre, radius))
    head = fit_head(surface, head.centre, head.radius, _toward_neck(voxels, head.centre, head.radius))
    check_head(head)
    return head


def check_head(head: Head) -> None:
    """Refuse a sphere that is not a femoral head's.

    Raises:
        HipError: ``head_incomplete``, ``head_aspherical`` or ``head_size``.
    """
    if not SMALLEST_MM <= head.radius <= LARGEST_MM:
        raise HipError(
            "head_size",
            f"The best sphere has a radius of {head.radius:.1f} mm, which no adult femoral head has "
            f"({SMALLEST_MM:.0f} to {LARGEST_MM:.0f} mm); check the femur's label.",
        )
    if head.cover < LEAST_COVER:
        raise HipError(
            "head_incomplete",
            f"Only {100 * head.cover:.0f} % of the sphere are seen as femoral head, and {100 * LEAST_COVER:.0f} % are "
            "needed; check the femur's label about the head.",
        )
    if head.rms > GREATEST_RMS_MM:
        raise HipError(
            "head_aspherical",
            f"The femoral head is aspherical: its surface is {head.rms:.1f} mm (RMS) from the best sphere, so a centre "
            "would mean nothing.",
        )
    if head.halves_shift > GREATEST_SHIFT_MM:
        raise HipError(
            "head_aspherical",
            f"The front and the back half of the femoral head have centres {head.halves_shift:.1f} mm apart, so one "
            "centre would mean nothing.",
        )


def fit_head(surface: Crossings, centre: np.ndarray, radius: float, toward_neck: np.ndarray) -> Head:
    """Fit the sphere from a first guess: points of the neck, the fovea and a cam do not count."""
    centre, radius = _fitted(surface, centre, radius, toward_neck)
    return head_of_sphere(surface, centre, radius, toward_neck)


def head_of_sphere(surface: Crossings, centre: np.ndarray, radius: float, toward_neck: np.ndarray) -> Head:
    """The head with this sphere, fitted or set by hand: how far the surface is from it."""
    away = surface.points - centre
    distance = np.linalg.norm(away, axis=1)
    directions = away / distance[:, None]
    cap = (directions @ toward_neck < np.cos(np.radians(NECK_CONE))) & (np.abs(distance - radius) < 3 * BAND_MM)
    residual, weights = distance[cap] - radius, surface.weights(directions[cap])
    inliers = np.abs(residual) < 2 * BAND_MM
    nearest = (directions[cap][inliers] @ _BINS.T).argmax(axis=1)
    cover = np.count_nonzero(np.bincount(nearest, minlength=len(_BINS))) / len(_BINS)
    halves = []
    for sign in (1, -1):
        half = replace(surface, points=surface.points[sign * away[:, 1] > 0])
        halves.append(_fitted(half, centre, radius, toward_neck, fixed_radius=True)[0])
    residual, weights = residual[inliers], weights[inliers]
    if not residual.size:
        return Head(centre, radius, toward_neck, np.inf, np.inf, 0.0, 0.0, np.inf)
    rms = float(np.sqrt(np.average(residual**2, weights=weights)))
    return Head(
        centre=centre,
        radius=radius,
        toward_neck=toward_neck,
        rms=rms,
        p95=float(np.percentile(np.abs(residual), 95)),
        cover=cover,
        axis_ratio=_axis_ratio(away[cap][inliers], weights, radius),
        halves_shift=float(np.linalg.norm(halves[0] - halves[1])),
    )


def _best_of_draws(surface: Crossings) -> tuple[np.ndarray, float]:
    """The sphere through four points that most points lie on, relative to its surface."""
    rng = np.random.default_rng(_SEED)
    points = surface.points
    if len(points) < 100:
        raise HipError("head_not_found", "The femur's label has no surface that a head could be fitted to.")
    points = points[rng.permutation(len(points))[:_DRAWN_FROM]]
    four = points[rng.integers(0, len(points), (_DRAWS, 4))]
    system = np.concatenate([2 * four, np.ones((_DRAWS, 4, 1))], axis=-1)
    flat = np.abs(np.linalg.det(system)) < 1e-3
    system[flat] = np.eye(4)
    solved = np.linalg.solve(system, (four**2).sum(axis=-1)[..., None])[..., 0]
    centres = solved[:, :3]
    radii = np.sqrt(np.maximum(solved[:, 3] + (centres**2).sum(axis=1), 0))
    usable = ~flat & (radii > SMALLEST_MM) & (radii < _LARGEST_DRAWN_MM)
    if not usable.any():
        raise HipError("head_not_found", "No sphere of a femoral head's size fits the femur's label.")
    centres, radii = centres[usable], radii[usable]
    distance = np.sqrt(
        np.maximum((points**2).sum(1) - 2 * centres @ points.T + (centres**2).sum(1)[:, None], 0)
    )  # (draws, points)
    score = (np.abs(distance - radii[:, None]) < 1.0).sum(axis=1) / radii**2
    best = int(score.argmax())
    return centres[best], float(radii[best])


def _toward_neck(voxels: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    away = voxels - centre
    distance = np.linalg.norm(away, axis=1)
    near = (distance > 1.15 * radius) & (distance < 1.7 * radius)
    if near.sum() < 20:
        raise HipError("neck_not_found", "No femoral neck is seen beside the head; check the femur's label.")
    return unit(unit(away[near]).mean(axis=0))


def _fitted(
    surface: Crossings, centre: np.ndarray, radius: float, toward_neck: np.ndarray, fixed_radius: bool = False
) -> tuple[np.ndarray, float]:
    """Gauss–Newton on the distances, with Tukey's weights and each mm² of surface counting alike.

    The weights' scale follows the scatter, so that on a smooth label a flat bump does not pull either.
    """
    away = surface.points - centre
    near = np.abs(np.linalg.norm(away, axis=1) - radius) < 4 * BAND_MM
    points = surface.points[near]
    for _ in range(25):
        away = points - centre
        distance = np.linalg.norm(away, axis=1)
        directions = away / distance[:, None]
        residual = distance - radius
        on_head = directions @ toward_neck < np.cos(np.radians(CAM_CONE))
        if np.count_nonzero(on_head) < 20:
            break
        scatter = 1.4826 * float(np.median(np.abs(residual[on_head])))
        scale = min(max(4.685 * scatter, 0.6 * BAND_MM), 1.5 * BAND_MM)
        weights = np.maximum(1 - (residual / scale) ** 2, 0) ** 2 * surface.weights(directions) * on_head
        if np.count_nonzero(weights) < 20:
            break
        system = np.column_stack([directions, np.ones(len(points))])[:, : 3 if fixed_radius else 4]
        step = np.linalg.solve(system.T @ (weights[:, None] * system) + 1e-9 * np.eye(system.shape[1]),
                               system.T @ (weights * residual))  # fmt: skip
        centre = centre + step[:3]
        radius = radius if fixed_radius else float(radius + step[3])
        if np.abs(step).max() < 1e-4:
            break
    return centre, radius


def _axis_ratio(away: np.ndarray, weights: np.ndarray, radius: float) -> float:
    """Least squares for xᵀAx + b·x = 1, whose eigenvalues are the inverse squares of the half axes."""
    x, y, z = (away / radius).T
    system = np.column_stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z, x, y, z])
    root = np.sqrt(weights)[:, None]
    a, b, c, d, e, f, *_linear = np.linalg.lstsq(system * root, root[:, 0], rcond=None)[0]
    eigenvalues = np.linalg.eigvalsh([[a, d, e], [d, b, f], [e, f, c]])
    if eigenvalues.min() <= 0:
        return 0.0
    return float(np.sqrt(eigenvalues.min() / eigenvalues.max()))
