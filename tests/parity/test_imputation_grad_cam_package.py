"""Noisy linear imputation without its noise against that of the `grad-cam` package (the authors' own code)."""

import pytest
import torch

from archaeology.evaluate.imputation import imputed

road = pytest.importorskip("pytorch_grad_cam.metrics.road")


@pytest.mark.filterwarnings("ignore")
def test_equals_the_authors_imputer():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 11, 9, generator=generator)
    known = torch.rand(4, 11, 9, generator=generator) > torch.tensor([0.1, 0.4, 0.7, 0.95])[:, None, None]
    imputer = road.NoisyLinearImputer(noise=0.0)
    theirs = torch.stack([imputer(image, mask.float()) for image, mask in zip(images, known, strict=True)])
    torch.testing.assert_close(
        imputed(images.double(), known, tolerance=1e-9).float(), theirs, rtol=0, atol=1e-5
    )
    assert float((imputed(images, known) - theirs).abs().max()) < 0.01  # of the quick default
