"""What every method is trained with, and the presets. A method's own settings stand in its file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.paper_segmenter import LARGEST_WIDTH, SegmenterSettings
from HipICMSCLib.networks.slab_unet import SlabUNetSettings
from HipICMSCLib.networks.translator import TranslatorSettings
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCLib.preprocessing.slabs import SlabSettings

from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape

#: Least and largest value of each number whose absurdity would show only after hours, or as a lack of memory.
_BOUNDS = {
    "seed": (0, 2**31 - 1),
    "batch_size": (1, 1024),
    "simulation_epochs": (0, 100_000),
    "stage1_epochs": (0, 100_000),
    "stage2_epochs": (0, 100_000),
    "self_training_epochs": (0, 100_000),
    "steps_per_epoch": (1, 1_000_000),
    "discriminator_width": (1, LARGEST_WIDTH),
    "ema_decay": (0, 1),
    "validation_slices": (1, 100_000),
    "corrections_share": (0, 1),
    "corrections_weight": (0, 1000),
    "corrections_towards_start": (0, 1),
}


@dataclass(frozen=True)
class TrainingSettings:
    """Settings shared by all methods; the defaults are the paper's (method.md, Schedule and Data).

    Attributes:
        seed: all chance comes from it: split of the cases, first weights, order of slices, augmentation.
        device: auto is the fastest that is here; cpu, cuda or mps insists on one.
        precision: how generators and segmenters compute; losses and discriminators stay in fp32.
        recompute: keep no activations of the generators' residual blocks (less memory, a little more time).
        batch_size: slices of each domain in a step, and in each process where there are several.
        reads: what the networks read: coronal slices of a crop about the femoral heads (the paper's way), or slabs of
            neighbouring slices of the whole volume, in any plane.
        simulation_epochs: epochs in which F_t learns from MRI simulated from CT, before stage 1 (slabs only).
        stage1_epochs: epochs of stage 1, which trains translation alone; ADDA and CyCADA share both stages out anew.
        stage2_epochs: epochs of stage 2, which trains everything together.
        self_training_epochs: epochs in which F_t learns from what it read itself in whole MRIs, after stage 2 (slabs
            only).
        steps_per_epoch: unless it is given, the paper's rule holds: max(#CT slices, #MR slices) / batch size.
        position_window_mm: an MR slice is drawn from as far front or back of the femoral heads as the CT slice, give
            or take this much, so that both domains show the same shares of anatomy.
        share_field_of_view: what either slice of a pair does not show is padded in both, so that a discriminator
            cannot win by the shape of the padding.
        discriminator_width: channels of the first convolution of both discriminators (64 in CycleGAN).
        learning_rate_translation: Adam's, for generators and discriminators; constant in stage 1, linear to 0 in
            stage 2.
        adam_betas_translation: Adam's two decay rates, for generators and discriminators.
        learning_rate_segmentation: Adam's, for the segmenters but SIFA's; linear to 0 in stage 2.
        ema_decay: how slowly the averaged copy of the weights follows them; 0 is the weights themselves.
        validation_slices: how many held-out slices of each domain the label-free scores are computed on.
        checkpoint_minutes: a checkpoint is written this often, besides one at the end of each epoch.
        corrections_share: of the slabs of a batch those of corrected MRIs, where the run has any, at least one; in
            simulation and self-training one slab at least stays simulated, so that nothing is forgotten, and in stage 2
            they come beside the pairs.
        corrections_weight: weight of the loss on corrected MRIs beside the others' 1. What a person marked as completed
            counts fully in it, a bone that was left as drawn a tenth, and the rest not at all.
        corrections_towards_start: how far back to its start a model lies that is kept, weight by weight, if corrected
            MRIs taught it (Wortsman et al. 2022, WiSE-FT): the farther, the less is forgotten, and the less thoroughly
            is a new contrast learned. 0 is what was learned, 1 the start.
        start_from: a model package (FILE.hipmodel) whose networks are the first weights of those of the same name; its
            architecture, crop and intensities must be those of the run. Without one the first weights are random.

    Raises:
        HipError: ``bad_setting`` for numbers that no training can be meant to have.
    """

    seed: int = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: bool = True
    batch_size: int = 1
    reads: Literal["crop", "slabs"] = "crop"
    simulation_epochs: int = 0
    stage1_epochs: int = 60
    stage2_epochs: int = 60
    self_training_epochs: int = 0
    steps_per_epoch: int | None = None
    crop: CropSettings = CropSettings()
    slab: SlabSettings = SlabSettings()
    intensity: IntensitySettings = IntensitySettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    simulation: SimulationSettings = SimulationSettings()
    position_window_mm: float = 10.0
    share_field_of_view: bool = True
    segmenter: SegmenterSettings = SegmenterSettings()
    slab_unet: SlabUNetSettings = SlabUNetSettings()
    translator: TranslatorSettings = TranslatorSettings()
    discriminator_width: int = 64
    learning_rate_translation: float = 2e-4
    adam_betas_translation: tuple[float, float] = (0.5, 0.999)
    learning_rate_segmentation: float = 1e-3
    ema_decay: float = 0.999
    validation_slices: int = 48
    checkpoint_minutes: float = 5.0
    corrections_share: float = 0.5
    corrections_weight: float = 1.0
    corrections_towards_start: float = 0.0
    start_from: str | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise HipError("bad_setting", f"{name} is {value}; give a number from {least} to {most}.")
        if min(self.learning_rate_translation, self.learning_rate_segmentation) < 0:
            raise HipError("bad_setting", "learning_rate_translation and …_segmentation are numbers from 0.")
        if not all(0 <= beta < 1 for beta in self.adam_betas_translation):
            raise HipError("bad_setting", "adam_betas_translation are two numbers from 0 and below 1.")

    @property
    def epochs(self) -> tuple[int, int, int, int]:
        """By stage, in the order of :data:`STAGES`."""
        return self.simulation_epochs, self.stage1_epochs, self.stage2_epochs, self.self_training_epochs

    @property
    def slab_shape(self) -> SlabShape:
        """Of the slabs that a training on slabs reads."""
        return SlabShape(self.slab_unet.slices, self.simulation.patch, self.slab.pixel_mm)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of what the networks read in training."""
        if self.reads == "slabs":
            return self.slab_unet.slices, self.simulation.patch, self.simulation.patch
        columns, _, rows = self.crop.size
        return 1, rows, columns


# The model that ships: MRI of any plane and contrast, simulated first; hours on two CPU cores, less on a GPU.
_SLABS = TrainingSettings(
    precision="bf16",
    recompute=False,
    batch_size=4,
    reads="slabs",
    simulation_epochs=40,
    stage1_epochs=1,
    stage2_epochs=1,
    self_training_epochs=5,
    steps_per_epoch=500,
    slab=SlabSettings(least_pixels=256),  # as large as a simulated patch: more black about a slice harms
    slab_unet=SlabUNetSettings(slices=5),
    translator=TranslatorSettings(width=24, blocks=6),
    discriminator_width=32,
)

PRESETS: dict[str, TrainingSettings] = {
    "paper": TrainingSettings(),
    # 2.5 × 2 mm slices and narrow networks: a useful model after a few hours on two CPU cores.
    "cpu-small": TrainingSettings(
        precision="bf16",
        recompute=False,
        batch_size=1,
        stage1_epochs=3,
        stage2_epochs=7,
        crop=CropSettings(spacing_mm=(2.5, 2.5, 2.0), size=(152, 80, 120)),
        segmenter=SegmenterSettings(width=24, norm="group"),
        translator=TranslatorSettings(width=24),
        discriminator_width=32,
    ),
    "slabs": _SLABS,
    # Corrected MRIs beside simulated ones, from the model that drew what was corrected, in batches like those that
    # made it.
    "corrections": replace(
        _SLABS,
        simulation_epochs=6,
        stage1_epochs=0,
        stage2_epochs=0,
        self_training_epochs=0,
        steps_per_epoch=100,
        ema_decay=0.99,
        corrections_towards_start=0.4,
    ),
    # Shows within a minute that everything works together; learns nothing of use.
    "smoke": TrainingSettings(
        recompute=False,
        batch_size=2,
        stage1_epochs=1,
        stage2_epochs=1,
        steps_per_epoch=6,
        crop=CropSettings(spacing_mm=(5.0, 5.0, 5.0), size=(76, 40, 48)),
        segmenter=SegmenterSettings(width=8, norm="group"),
        translator=TranslatorSettings(width=8, blocks=2),
        discriminator_width=8,
        ema_decay=0.5,
        validation_slices=8,
    ),
}
