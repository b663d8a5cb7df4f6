"""Where a place of one chest CT lies in another of the same patient: SimpleITK on coarse copies of the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813  its own manual calls it so
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.errors import ModelError
from models.ops.lung_mask import find_lungs
from models.ops.resample import resample_box
from study.sentences import say
from study.volume import Volume

# Lungs at this spacing are about 80,000 samples: enough for an affine transform, whatever the series.
GRID_MM = 4.0
HU_RANGE = (-1000, 100)
AROUND_LUNGS_MM = 10.0
ITERATIONS, THREADS = 40, 2
# (shrink factor, first step, share of the samples) of the rigid and of the affine part.
RIGID, AFFINE = (4, 1.0, 1.0), (2, 0.3, 0.5)
# Aligned lungs of one patient correlate by 0.8 and more and overlap by 0.9; another chest, or the same one mirrored,
# stays below these.
CORRELATION_MIN, OVERLAP_MIN = 0.55, 0.8
# What is left after the affine part, breathing above all, is sought around each place.
LOCAL_GRID_MM, LOCAL_HALF_MM, LOCAL_SEARCH_MM = 1.5, 21.0, 18.0


class NotAligned(ModelError):
    """The two scans could not be laid upon one another."""

    code = "PRIOR_NOT_ALIGNED"


@dataclass(frozen=True)
class Alignment:
    """matrix: patient LPS in mm of the current scan → of the prior, (4, 4).

    correlation: of the aligned lungs' Hounsfield units. overlap: Dice of the lungs.
    """

    matrix: NDArray[np.float64]
    correlation: float
    overlap: float

    def to_prior(self, point_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 3) points of the current scan in the prior's coordinates."""
        return np.asarray(point_lps_mm @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def inverse(self) -> Alignment:
        """From the prior to the current scan."""
        return Alignment(np.asarray(np.linalg.inv(self.matrix), np.float64), self.correlation, self.overlap)


@dataclass(frozen=True)
class _Coarse:
    """A volume at `GRID_MM`: HU and lungs as (slice, row, column) images of SimpleITK in patient LPS."""

    hu: sitk.Image
    lungs: sitk.Image


def register(current: Volume, prior: Volume) -> Alignment:
    """Align two scans: lungs' centres, then rigid, then affine. Raises `NotAligned` with the reason."""
    fixed, moving = _coarse(current), _coarse(prior)
    try:
        start = sitk.CenteredTransformInitializer(
            fixed.lungs,
            moving.lungs,
            sitk.Euler3DTransform(),
            sitk.CenteredTransformInitializerFilter.MOMENTS,
        )
        rigid = sitk.Euler3DTransform(_optimise(fixed, moving, start, RIGID))
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(rigid.GetMatrix())
        affine.SetCenter(rigid.GetCenter())
        affine.SetTranslation(rigid.GetTranslation())
        found = sitk.AffineTransform(_optimise(fixed, moving, affine, AFFINE))
    except RuntimeError as error:  # how SimpleITK says that nothing overlaps
        raise NotAligned(say("NO_COMMON_LUNG")) from error
    correlation, overlap = _agreement(fixed, moving, found)
    if correlation < CORRELATION_MIN or overlap < OVERLAP_MIN:
        raise NotAligned(say("NOT_ALIKE", correlation=f"{correlation:.2f}", overlap=f"{overlap:.2f}"))
    return Alignment(_as_matrix(found), correlation, overlap)


def _coarse(volume: Volume) -> _Coarse:
    spacing = volume.spacing_mm
    lungs = find_lungs(volume.voxels, spacing)
    if lungs is None:
        raise NotAligned(say("NO_LUNGS_IN_SCAN"))
    step = tuple(max(1.0, GRID_MM / size) for size in spacing)
    counts = [int((length - 1) / ratio) + 1 for length, ratio in zip(volume.voxels.shape, step, strict=True)]
    shape = (counts[0], counts[1], counts[2])
    if min(shape) < 8:
        raise NotAligned(say("SCAN_TOO_SMALL"))
    hu = resample_box(volume.voxels, (0.0, 0.0, 0.0), (step[0], step[1], step[2]), shape)
    places = [
        np.minimum((np.arange(count) * ratio / stride).round().astype(int), length - 1)
        for count, ratio, stride, length in zip(shape, step, lungs.stride, lungs.mask.shape, strict=True)
    ]
    mask = lungs.mask[np.ix_(*places)].astype(np.uint8)
    images = [sitk.GetImageFromArray(np.clip(hu, *HU_RANGE).astype(np.float32)), sitk.GetImageFromArray(mask)]
    directions = volume.affine_mm[:3, :3] / spacing
    if abs(abs(float(np.linalg.det(directions))) - 1) > 1e-3:
        raise NotAligned(say("AXES_SKEWED"))
    for image in images:
        image.SetSpacing([ratio * size for ratio, size in zip(step[::-1], spacing[::-1], strict=True)])
        image.SetOrigin([float(value) for value in volume.affine_mm[:3, 3]])
        image.SetDirection(directions[:, ::-1].ravel().tolist())
    return _Coarse(images[0], images[1])


def _optimise(
    fixed: _Coarse, moving: _Coarse, start: sitk.Transform, how: tuple[int, float, float]
) -> sitk.Transform:
    """Minimise the negative correlation around the lungs of the fixed scan; the same samples every time."""
    shrink, step, share = how
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(THREADS)
    method.SetMetricAsCorrelation()
    radius = round(AROUND_LUNGS_MM / GRID_MM)
    method.SetMetricFixedMask(sitk.BinaryDilate(fixed.lungs, [radius] * 3))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.REGULAR if share < 1 else method.NONE)
    method.SetMetricSamplingPercentage(share)
    method.SetOptimizerAsRegularStepGradientDescent(step, 0.005, ITERATIONS, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([shrink / 2])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(start, inPlace=False)
    found = method.Execute(fixed.hu, moving.hu)
    return found.GetNthTransform(0) if isinstance(found, sitk.CompositeTransform) else found


def _agreement(fixed: _Coarse, moving: _Coarse, transform: sitk.Transform) -> tuple[float, float]:
    hu = sitk.GetArrayFromImage(sitk.Resample(moving.hu, fixed.hu, transform, sitk.sitkLinear, -2000.0))
    lungs = sitk.GetArrayFromImage(
        sitk.Resample(moving.lungs, fixed.hu, transform, sitk.sitkNearestNeighbor, 0)
    )
    covered = hu > -1999
    mask = sitk.GetArrayFromImage(fixed.lungs) > 0
    both = mask & covered
    around = ndimage.binary_dilation(mask, iterations=2) & covered
    if both.sum() < 0.3 * mask.sum():
        return 0.0, 0.0
    own = sitk.GetArrayFromImage(fixed.hu)[around]
    correlation = float(np.corrcoef(own, hu[around])[0, 1])
    other = (lungs > 0) & covered
    return correlation, 2 * float((both & other).sum()) / float(both.sum() + other.sum())


def _as_matrix(transform: sitk.AffineTransform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    center = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + center - matrix[:3, :3] @ center
    return matrix


def refine(
    alignment: Alignment, source: Volume, target: Volume, point_lps_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The place in `target` whose surroundings look most like those of the point in `source`, and how alike: 0 to 1.

    Sought within `LOCAL_SEARCH_MM` of where the alignment puts it, by shifts alone.
    """
    expected = alignment.to_prior(point_lps_mm)
    half = int(LOCAL_HALF_MM / LOCAL_GRID_MM)
    reach = half + int(LOCAL_SEARCH_MM / LOCAL_GRID_MM)
    template = _cube(source, point_lps_mm, np.eye(3), half)
    search = _cube(target, expected, alignment.matrix[:3, :3], reach)
    score = _likeness(search, template)
    middle = (np.array(score.shape) - 1) // 2
    best = np.array(np.unravel_index(int(score.argmax()), score.shape))
    shift = (best - middle)[::-1] * LOCAL_GRID_MM
    return expected + alignment.matrix[:3, :3] @ shift, float(score.max())


def _cube(
    volume: Volume, center_lps_mm: NDArray[np.float64], directions: NDArray[np.float64], half: int
) -> NDArray[np.float32]:
    """HU on a grid (z, y, x) around a point, `2 * half + 1` to a side, its axes along the columns of `directions`."""
    steps = np.arange(-half, half + 1) * LOCAL_GRID_MM
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    points = center_lps_mm + np.stack([x, y, z], axis=-1) @ directions.T
    index = np.moveaxis(volume.to_index(points), -1, 0)
    hu = ndimage.map_coordinates(volume.voxels, index, order=1, mode="nearest", output=np.float32)
    return np.asarray(np.clip(hu, *HU_RANGE), np.float32)


def _likeness(search: NDArray[np.float32], template: NDArray[np.float32]) -> NDArray[np.float64]:
    """Normalised cross-correlation of the template at every place where it fits whole."""
    zero_mean = (template - template.mean()).astype(np.float64)
    size = template.size
    field = search.astype(np.float64)
    product = signal.fftconvolve(field, zero_mean[::-1, ::-1, ::-1], mode="valid")
    ones = np.ones_like(zero_mean)
    total = signal.fftconvolve(field, ones, mode="valid")
    squares = signal.fftconvolve(field**2, ones, mode="valid")
    spread = np.sqrt(np.maximum(squares - total**2 / size, 1e-6) * np.maximum((zero_mean**2).sum(), 1e-6))
    return np.asarray(product / spread)
