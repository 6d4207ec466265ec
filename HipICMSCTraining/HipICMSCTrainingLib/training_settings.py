"""What every method is trained with, and the presets. A method's own settings stand in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from HipICMSCLib.geometry import CropSettings
from HipICMSCLib.intensity import IntensitySettings
from HipICMSCLib.segmenter import SegmenterSettings
from HipICMSCLib.translator import TranslatorSettings

from HipICMSCTrainingLib.augmentation import AugmentationSettings


@dataclass(frozen=True)
class TrainingSettings:
    """Settings shared by all methods; the defaults are the paper's (method.md, Schedule and Data).

    Attributes:
        stage1_epochs, stage2_epochs: translation alone, then everything together.
        steps_per_epoch: None is the paper's rule, max(#CT slices, #MR slices) / batch size.
        position_window_mm: an MR slice is drawn from as far front or back of the femoral heads as the CT slice, give
            or take this much, so that both domains show the same shares of anatomy.
        share_field_of_view: what either slice of a pair does not show is padded in both, so that a discriminator
            cannot win by the shape of the padding.
        precision: of generators and segmenters; losses and discriminators stay in fp32.
        recompute: keep no activations of the generators' residual blocks (less memory, a little more time).
        ema_decay: of the averaged copy of the weights.
        validation_slices: of each domain, for the label-free scores.
    """

    seed: int = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: bool = True
    batch_size: int = 1
    stage1_epochs: int = 60
    stage2_epochs: int = 60
    steps_per_epoch: int | None = None
    crop: CropSettings = CropSettings()
    intensity: IntensitySettings = IntensitySettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    position_window_mm: float = 10.0
    share_field_of_view: bool = True
    segmenter: SegmenterSettings = SegmenterSettings()
    translator: TranslatorSettings = TranslatorSettings()
    discriminator_width: int = 64
    learning_rate_translation: float = 2e-4
    adam_betas_translation: tuple[float, float] = (0.5, 0.999)
    learning_rate_segmentation: float = 1e-3
    ema_decay: float = 0.999
    validation_slices: int = 48
    checkpoint_minutes: float = 5.0


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
