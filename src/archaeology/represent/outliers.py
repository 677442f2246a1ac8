"""Some patches say nothing of their place: tokens of very large norm, which large ViTs use as a scratch pad.

`darcet2024vision` found them in DINOv2, OpenCLIP and DeiT III (some 2 % of patches, norms ten times the usual), and
that registers take them over. There the threshold is read off a histogram. Differs: a stated rule, a test first. Norms
(their logarithms) must have two peaks: a mixture of two normal distributions must explain them far better than one (by
BIC), and between the two peaks its density must fall below half of the lower peak. The threshold is the bottom of that
valley; where there is no valley, there are no outliers, however long the tail.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats as distributions
from sklearn.mixture import GaussianMixture

from archaeology.core.intervals import Interval, bootstrap_mean
from archaeology.represent.patches import PatchFeatures

CLEAR = 10.0  # BIC from which on two peaks are "very strong" evidence (Kass and Raftery's scale)
VALLEY = 0.5  # of the lower peak
MOST = 0.5  # share of patches that can be outliers: more are the usual
AT_MOST = 20_000  # norms that the mixture is fitted to, evenly taken
STEPS = 512  # on the way from peak to peak


@dataclass(frozen=True, eq=False)
class OutlierTokens:
    """Norms of the patches of a layer, and which of them stand out.

    Attributes:
        norm: Of each patch.
        prefix_norm: Of each token before the patches.
        prefix_names: Their names.
        is_outlier: Patches above the threshold; none where there is no valley.
        threshold: The bottom of the valley; infinite where there is none.
        share: Of outliers among patches, mean over images, bootstrap over images, since patches of one image are alike.
        bic_gain: How much better two peaks explain the norms than one.
        valley: Lowest density between the peaks over that of the lower peak; 1 where there is one peak only.
        name: Of the features.
    """

    norm: Float[np.ndarray, "image row column"]
    prefix_norm: Float[np.ndarray, "image front"]
    prefix_names: tuple[str, ...]
    is_outlier: Bool[np.ndarray, "image row column"]
    threshold: float
    share: Interval
    bic_gain: float
    valley: float
    name: str

    @property
    def is_bimodal(self) -> bool:
        """Whether norms have two peaks, so that there are outliers at all."""
        return bool(np.isfinite(self.threshold))


def find_outliers(patches: PatchFeatures, *, seed: int = 0) -> OutlierTokens:
    """Patches of a norm far beyond the others', if there are such.

    Args:
        patches: Of a layer, usually the last or one in the last third.
        seed: Of the bootstrap.
    """
    norm = np.linalg.norm(patches.values.astype(np.float64), axis=-1)
    prefix = np.linalg.norm(patches.prefix.astype(np.float64), axis=-1)
    logs = np.log(np.maximum(norm, np.finfo(np.float64).tiny)).ravel()
    gain, valley, bottom = two_peaks(logs[:: -(-len(logs) // AT_MOST)])
    is_two = gain > CLEAR and valley < VALLEY and float((logs > bottom).mean()) < MOST
    threshold = float(np.exp(bottom)) if is_two else float("inf")
    is_outlier = norm > threshold
    share = bootstrap_mean(is_outlier.mean(axis=(1, 2)), seed=seed)
    return OutlierTokens(
        norm, prefix, patches.prefix_names, is_outlier, threshold, share, gain, valley, patches.name
    )


def two_peaks(values: Float[np.ndarray, " value"]) -> tuple[float, float, float]:
    """Whether values have two peaks: gain in BIC, relative depth of the valley between them, and where its bottom is.

    Values without spread have one peak.
    """
    rows = np.asarray(values, dtype=np.float64)[:, None]
    spread = rows.std()
    if len(rows) < 4 or spread <= 1e-9 * max(1.0, float(np.abs(rows).max())):
        return 0.0, 1.0, float(rows.mean())
    scaled = (rows - rows.mean()) / spread
    # Begun at the bulk and at the top, because k-means, the usual beginning, does not see a few far values.
    start = np.array([[np.median(scaled)], [scaled.max()]])
    bend = {"max_iter": 500, "reg_covar": 1e-6, "random_state": 0}
    one = GaussianMixture(1, **bend).fit(scaled)
    two = GaussianMixture(2, means_init=start, **bend).fit(scaled)
    middle, width = np.asarray(two.means_).ravel(), np.sqrt(np.asarray(two.covariances_).ravel())
    place = np.linspace(middle.min(), middle.max(), STEPS)
    parts = distributions.norm.pdf(place[:, None], middle, width) * np.asarray(two.weights_)
    density = parts.sum(axis=1)
    bottom = int(density.argmin())
    lower_peak = min(density[: bottom + 1].max(), density[bottom:].max())
    gain = float(one.bic(scaled) - two.bic(scaled))
    return gain, float(density[bottom] / lower_peak), float(place[bottom] * spread + rows.mean())
