"""Grad-CAM and Grad-CAM++ are the package `grad-cam`'s, before that enlarges and stretches them, on a CNN and a ViT."""

import pytest
import torch
from tests.ablate import small_models as small

from archaeology.capture.record import capture
from archaeology.explain import explain
from archaeology.specimens.specimen import Specimen

package = pytest.importorskip("pytorch_grad_cam")
targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

METHODS = {"grad_cam": package.GradCAM, "grad_cam_plus_plus": package.GradCAMPlusPlus}


def convolutional():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 11, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(11, 13, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(13, 5),
    )
    with torch.no_grad():
        model[-1].weight.mul_(1000)  # gradients far above the package's 1e-6
    return Specimen("small", model.eval(), "convolutional", (), (12, 17)), "3", None


def transformer():
    def laid_out(tokens):
        return tokens[:, 1:].unflatten(1, (2, 3)).movedim(-1, 1)

    specimen = small.timm_vit()
    with torch.no_grad():
        specimen.model.head.weight.mul_(1000)
    return specimen, "blocks.2.norm1", laid_out


def raw_map(method, specimen, layer, laid_out, images, label):
    """The package's map of one image on the layer's own grid: its stretching is undone by not calling it."""

    class Raw(METHODS[method]):
        def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
            (activation,), (gradient,) = (
                self.activations_and_grads.activations,
                self.activations_and_grads.gradients,
            )
            layers = self.target_layers
            return [
                self.get_cam_image(
                    input_tensor, layers[0], targets, activation.numpy(), gradient.numpy(), eigen_smooth
                ).clip(0)
            ]

        def aggregate_multi_layers(self, cam_per_target_layer):
            return cam_per_target_layer[0]

    modules = [specimen.model.get_submodule(layer)]
    with Raw(specimen.model, modules, reshape_transform=laid_out) as cam:
        found = cam(specimen.prepare(images), [targets.ClassifierOutputTarget(label)])
    return torch.as_tensor(found)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [convolutional, transformer], ids=lambda make: make.__name__)
def test_maps_agree(method, make):
    specimen, layer, laid_out = make()
    images = small.images(4, *specimen.image_size)
    target = torch.tensor([3, 0, 4, 1])
    record = capture(specimen, images, target=target, taps=(layer,), patterns=False, gradients=True)
    ours = explain(method, record).heatmap
    assert int((ours.flatten(1).amax(1) > 0).sum()) >= 2
    for image, label in enumerate(target.tolist()):
        theirs = raw_map(method, specimen, layer, laid_out, images[image : image + 1], label)
        scale = float(theirs.abs().max().clamp(min=1e-9))
        torch.testing.assert_close(ours[image] / scale, theirs / scale, rtol=1e-4, atol=1e-4)
