"""Sample data: a real MRI that ships, and synthetic hips that HipICMSC Training's library makes on this computer.

Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.gui.setup.child_process import end_tree, start_connected
from HipICMSCLib.gui.setup.installation import python_interpreter

CATEGORY = "HipICMSC"
SAMPLE_NODE = "HipMRI"
#: The subject that `make demo` segments, too.
SEED, SUBJECT = 2026, 0

_LIBRARY_FOLDER = Path(__file__).resolve().parents[3]
_ICONS = _LIBRARY_FOLDER / "Resources" / "Icons"
#: CC BY 4.0; its attribution lies in the file beside it. No model that ships was trained on it.
_SAMPLE = _LIBRARY_FOLDER / "Resources" / "SampleData" / "HipICMSC-MRI-CPTAC-C3N-01875.nii.gz"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Phantom:
    """A synthetic volume that Slicer offers.

    Attributes:
        modality: as `HipICMSCTrainingLib.phantom.write_subject` knows it.
        title: of its button in the module Sample Data.
        node_name: of its volume node; its file in Slicer's cache has it, too.
        description: of its volume node.
    """

    modality: str
    title: str
    node_name: str
    description: str

    @property
    def image(self) -> Path:
        """Its file in Slicer's cache, there or not. Another version may make another phantom, so it is in the name."""
        return _cache_folder() / f"{self.node_name}-{VERSION}.nrrd"

    @property
    def truth(self) -> Path:
        """As :attr:`image`; a label map on its grid: 1 hip bone, 2 proximal femur, of both sides."""
        return _cache_folder() / f"{self.node_name}-{VERSION}_label.nrrd"

    @property
    def is_made(self) -> bool:
        return self.image.exists() and self.truth.exists()


def phantoms() -> dict[str, Phantom]:
    """What there is, by modality."""
    mri = Phantom(
        "MR",
        _("Hip MRI (synthetic)"),
        "HipPhantomMRI",
        _("Synthetic T1 MRI of computed hips, not of a patient; for research use only."),
    )
    ct = Phantom(
        "CT",
        _("Hip CT with labels (synthetic)"),
        "HipPhantomCT",
        _("Synthetic CT of computed hips, not of a patient; for research use only."),
    )
    return {phantom.modality: phantom for phantom in (mri, ct)}


def register_sample_data() -> None:
    """Add the MRI and the phantoms to the module Sample Data, unless they are there already."""
    from SampleData import SampleDataLogic

    present = {source.sampleName for source in SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)}
    title = _("Hip MRI (T1, CPTAC)")
    if title not in present:
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=title,
            uris=_SAMPLE.as_uri(),
            fileNames=_SAMPLE.name,
            nodeNames=SAMPLE_NODE,
            thumbnailFileName=str(_ICONS / "HipICMSC-SampleMRI.png"),
            customDownloader=lambda source: load_sample_mri(),
        )
    for phantom in phantoms().values():
        if phantom.title not in present:
            SampleDataLogic.registerCustomSampleDataSource(
                category=CATEGORY,
                sampleName=phantom.title,
                # There must be an address; this one is also found without our downloader, once the phantom is made.
                uris=phantom.image.as_uri(),
                fileNames=phantom.image.name,
                nodeNames=phantom.node_name,
                thumbnailFileName=str(_ICONS / f"HipICMSC-{phantom.node_name.removeprefix('Hip')}.png"),
                customDownloader=lambda source, modality=phantom.modality: load_phantom(modality),
            )


def load_sample_mri():
    """Load the MRI that ships and show it.

    Returns:
        The vtkMRMLScalarVolumeNode, or None if the user was told why it failed.
    """
    options = slicer.vtkSlicerVolumesLogic.SingleFile
    volume = slicer.modules.volumes.logic().AddArchetypeVolume(str(_SAMPLE), SAMPLE_NODE, options)
    if volume is None:
        slicer.util.errorDisplay(
            _("The sample MRI of HipICMSC cannot be read; install the extension again."), detailedText=str(_SAMPLE)
        )
        return None
    volume.SetDescription(_("CPTAC-UCEC C3N-01875, coronal T1, CC BY 4.0; for research use only."))
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    return volume


def load_phantom(modality: str):
    """Load a synthetic volume and show it. Making it takes some 10 to 20 seconds, once; meanwhile a dialog offers to
    cancel.

    Args:
        modality: ``"MR"``, or ``"CT"``, which comes with its truth as the label map ``HipPhantomCT_label``.

    Returns:
        The vtkMRMLScalarVolumeNode, or None if the user cancelled or was told why it failed.
    """
    phantom = phantoms()[modality]
    try:
        if not phantom.is_made and not _make(phantom):
            return None
        volume = _loaded(phantom.image, phantom.node_name)
        truth = load_truth(modality) if modality == "CT" else None
    except HipError as error:
        slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
        return None
    volume.SetDescription(phantom.description)
    slicer.util.setSliceViewerLayers(background=volume, label=truth, fit=True)
    return volume


def load_truth(modality: str):
    """Load the truth of a phantom that :func:`load_phantom` loaded before.

    Returns:
        The vtkMRMLLabelMapVolumeNode: 1 hip bone, 2 proximal femur, of both sides.

    Raises:
        HipError: ``unreadable``.
    """
    phantom = phantoms()[modality]
    return _loaded(phantom.truth, f"{phantom.node_name}_label", slicer.vtkSlicerVolumesLogic.LabelMap)


def _cache_folder() -> Path:
    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()).absolute()


def _make(phantom: Phantom) -> bool:
    """Let a child process write a phantom's files into the cache; False if the user cancelled."""
    module = importlib.util.find_spec("HipICMSCTrainingLib")
    if module is None:
        raise HipError(
            "no_training_module",
            _("The synthetic images come from the module HipICMSC Training, which this Slicer lacks; install it, too."),
        )
    try:
        phantom.image.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, phantom.image) from error
    command = ["-m", "HipICMSCTrainingLib.phantom.write_subject", phantom.modality, str(SEED), str(SUBJECT)]
    folders = [_LIBRARY_FOLDER, Path(module.origin).resolve().parents[1]]
    dialog = slicer.util.createProgressDialog(
        windowTitle="HipICMSC",
        labelText=_("Making “{title}” on this computer; the first time this may take a minute …").format(
            title=phantom.title
        ),
        maximum=0,
        modal=True,
    )
    dialog.show()
    try:
        with start_connected(
            [*command, str(phantom.image), str(phantom.truth)], folders, python_interpreter()
        ) as process:
            return _ended_well(process, phantom, dialog)
    except OSError as error:
        raise HipError(
            "not_started", _("The process that makes the image could not be started."), str(error)
        ) from error
    finally:
        dialog.close()
        dialog.deleteLater()


def _ended_well(process: subprocess.Popen, phantom: Phantom, dialog) -> bool:
    """Wait for the process while Slicer goes on drawing; False if the user cancelled, which ends it."""
    try:
        while not dialog.wasCanceled:
            slicer.app.processEvents()
            try:
                words = process.communicate(timeout=_LOOK_SECONDS)[1]
            except subprocess.TimeoutExpired:
                continue
            if process.returncode:
                raise _failure(phantom, process.returncode, words)
            return True
        return False
    finally:
        if process.poll() is None:
            end_tree(process)


def _failure(phantom: Phantom, code: int, words: str) -> HipError:
    """Why no phantom was made, by the exit code and the last words of the process."""
    lines = words.strip().splitlines()
    missing = re.fullmatch(r"ModuleNotFoundError: No module named '(\w+)'", lines[-1]) if lines else None
    if code == 2 and lines:
        return HipError("not_written", lines[-1])
    if missing:
        return HipError(
            "missing_package",
            _(
                "“{title}” cannot be made without {package}; install what is missing in HipICMSC's section Set-up."
            ).format(title=phantom.title, package={"skimage": "scikit-image"}.get(missing[1], missing[1])),
            words,
        )
    return HipError(
        "not_made",
        _(
            "“{title}” could not be made, because the process that makes it ended unexpectedly, perhaps for want of "
            "memory; close other programs and try again."
        ).format(title=phantom.title),
        f"Exit code {code}.\n{words}".strip(),
    )


def _loaded(path: Path, name: str, options: int = 0):
    """A volume node of a file in the cache; nothing in the scene refers to the file, which may go at any time."""
    scene = slicer.mrmlScene
    options |= slicer.vtkSlicerVolumesLogic.SingleFile
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, options)
    if node is None:
        path.unlink(missing_ok=True)
        raise HipError("unreadable", _("The synthetic image in Slicer's cache was damaged; try again."), str(path))
    scene.RemoveNode(node.GetStorageNode())
    return node
