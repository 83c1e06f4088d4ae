"""Which losses a run has, with what weights: the configurations of all losses in one record."""

from dataclasses import dataclass, field

from training.losses.category_alignment import CategoryAlignmentConfig
from training.losses.depth_imitation import DepthImitationConfig
from training.losses.depth_labels import DepthLabelsConfig
from training.losses.feature_imitation import FeatureImitationConfig
from training.losses.ground_contact import GroundContactConfig
from training.losses.photometric import PhotometricConfig
from training.losses.reprojection import ReprojectionConfig
from training.losses.scale_alignment import ScaleAlignmentConfig
from training.losses.sky import SkyConfig
from training.losses.smoothness import SmoothnessConfig


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """At which resolutions views are synthesised."""

    weight: float = 1.0
    """Of the photometric error; 0: off, and no view is synthesised unless a gate needs it."""
    scales: tuple[int, ...] = (0, 1, 2, 3)
    """Which disparities are judged; scale s has stride 2^s, and is upsampled first."""
    stride: int = 1
    """Images are compared at full resolution, or at half of it with 2: about four times faster."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"losses.synthesis.weight is {self.weight}; expected at least 0")
        if not self.scales or any(scale not in range(4) for scale in self.scales):
            raise ValueError(f"losses.synthesis.scales is {self.scales}; expected some of 0, 1, 2, 3")
        if self.stride not in (1, 2, 4):
            raise ValueError(f"losses.synthesis.stride is {self.stride}; expected 1, 2 or 4")


FROM_A_TEACHER = ("scale", "category", "feature", "imitation")
"""The losses that are there only where a teacher is."""


@dataclass(frozen=True, kw_only=True)
class LossesConfig:
    """All losses. Sky and contact ask a token probe, the last four a teacher."""

    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    reprojection: ReprojectionConfig = field(default_factory=ReprojectionConfig)
    smoothness: SmoothnessConfig = field(default_factory=SmoothnessConfig)
    labels: DepthLabelsConfig = field(default_factory=DepthLabelsConfig)
    sky: SkyConfig = field(default_factory=SkyConfig)
    contact: GroundContactConfig = field(default_factory=GroundContactConfig)
    scale: ScaleAlignmentConfig = field(default_factory=ScaleAlignmentConfig)
    category: CategoryAlignmentConfig = field(default_factory=CategoryAlignmentConfig)
    feature: FeatureImitationConfig = field(default_factory=FeatureImitationConfig)
    imitation: DepthImitationConfig = field(default_factory=DepthImitationConfig)

    def views(self, *, taught: bool) -> bool:
        """Return whether any loss asks what other views show.

        Args:
            taught: Whether there is a teacher.
        """
        gated = taught and self.imitation.weight > 0 and self.imitation.gated
        return self.synthesis.weight > 0 or self.contact.weight > 0 or gated

    @property
    def semantic(self) -> bool:
        """Whether any loss asks what is sky, road or vehicle."""
        return self.sky.weight > 0 or self.contact.weight > 0
