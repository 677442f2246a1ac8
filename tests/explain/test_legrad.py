"""LeGrad against finite differences of early answers, written in loops; early answers against the model's own end."""

from dataclasses import replace

import pytest
import torch
from tests.ablate import small_models as small
from tests.oracles import gradient_explanations as oracle
from torch import nn

from archaeology.capture.early import early_answers
from archaeology.capture.record import capture
from archaeology.explain import explain_images
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

WIDTH, HEADS = 4, 2


class Block(nn.Module):
    """Attention and one hyperbolic tangent, both added to what comes in."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.mix = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, tokens):
        query, key, value = (
            part(tokens).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        heads = (query @ key.mT).softmax(-1) @ value
        tokens = tokens + heads.transpose(1, 2).flatten(2)
        return tokens + self.mix(tokens).tanh()


class Tiny(nn.Module):
    """One pixel is one patch; the class token, or the mean of the patches, is read through tanh."""

    def __init__(self, class_token):
        super().__init__()
        self.embed = nn.Linear(3, WIDTH)
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH)) if class_token else None
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, pixels):
        tokens = self.embed(pixels.flatten(2).mT)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        tokens = self.blocks(tokens)
        read = tokens[:, 0] if self.cls_token is not None else tokens.mean(1)
        return self.head(read.tanh())


def tiny(class_token):
    torch.manual_seed(3)
    model = Tiny(class_token).double().eval()
    prefix, readout = (("class",), "class_token") if class_token else ((), "mean")
    return Specimen("tiny", model, "transformer", (), (1, 3), layout=TokenLayout(1, 3, prefix, readout))


def early_logit(specimen, block, tokens, label):
    """Of one block given its tokens and its heads' patterns, in loops."""
    weights = {name: getattr(block, name).weight.tolist() for name in ("v", "mix")}
    head = specimen.model.head

    def logit(patterns):
        given = oracle.block(tokens, patterns, weights["v"], weights["mix"])
        reads = [given[0]] if specimen.layout.prefix else given
        return oracle.read(reads, head.weight[label].tolist(), head.bias[label].item())

    return logit


@pytest.mark.parametrize("class_token", [True, False])
def test_mean_of_positive_finite_differences(class_token):
    specimen = tiny(class_token)
    images, target = torch.rand(2, 3, 1, 3, dtype=torch.float64), torch.tensor([2, 0])
    found = explain_images("legrad", specimen, images, target)
    answers = early_answers(specimen, images, target)
    inputs: list = []
    hooks = [
        block.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        for block in specimen.model.blocks
    ]
    specimen.predict(images)
    for hook in hooks:
        hook.remove()
    for image, label in enumerate(target.tolist()):
        wanted = torch.zeros(3, dtype=torch.float64)
        for layer, block in enumerate(specimen.model.blocks):
            logit = early_logit(specimen, block, inputs[layer][image].tolist(), label)
            patterns = answers.blocks[layer].pattern[image].tolist()
            assert logit(patterns) == pytest.approx(answers.logits[layer, image, label].item(), abs=1e-12)
            sensitivity = torch.tensor(oracle.positive_differences(logit, patterns), dtype=torch.float64)
            wanted += sensitivity[len(specimen.layout.prefix) :] / 2
        torch.testing.assert_close(found.heatmap[image, 0], wanted, rtol=1e-7, atol=1e-9)
    assert found.parameters == {"first_layer": 0}


def test_last_early_answer_is_the_models_and_its_gradient_too():
    specimen, images = small.timm_vit(), small.images(3)
    answers = early_answers(specimen, images)
    logits = specimen.predict(images)
    torch.testing.assert_close(answers.logits[-1], logits, rtol=1e-5, atol=1e-5)
    assert answers.target.tolist() == logits.argmax(1).tolist()
    assert not torch.allclose(answers.logits[0], answers.logits[1], rtol=0.1)
    last = explain_images("legrad", specimen, images, answers.target, first_layer=-1)
    record = capture(specimen, images, target=answers.target, gradients=True)
    gradient = record.attentions[-1].pattern_gradient
    wanted = gradient.clamp(min=0).mean((1, 2))[:, 1:].view(3, 2, 3)
    torch.testing.assert_close(last.heatmap, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [small.torchvision_vit, small.cait], ids=lambda make: make.__name__)
def test_models_of_other_makes(make):
    specimen = make()
    images, target = small.images(2, *specimen.image_size), torch.tensor([3, 1])
    explanation = explain_images("legrad", specimen, images, target)
    assert explanation.heatmap.shape == (2, 2, 2) and explanation.has_evidence.all()
    assert ("attention in that end" in explanation.formula) == (make is small.cait)
    answers = early_answers(specimen, images, target)
    torch.testing.assert_close(answers.logits[-1], specimen.predict(images).detach(), rtol=1e-4, atol=1e-5)


def test_nan_in_one_image_stays_there():
    specimen = tiny(True)
    specimen.model.embed.register_forward_hook(
        lambda module, given, out: out.where(given[0][:, :, :1] < 0.99, torch.nan)
    )
    specimen = replace(specimen, mean=(0.0,) * 3, std=(1.0,) * 3)
    images = torch.rand(2, 3, 1, 3, dtype=torch.float64) * 0.9
    clean = explain_images("legrad", specimen, images, torch.tensor([2, 0])).heatmap
    images[0, 0, 0, 1] = 1
    explanation = explain_images("legrad", specimen, images, torch.tensor([2, 0]))
    assert explanation.has_evidence.tolist() == [False, True]
    torch.testing.assert_close(explanation.heatmap[1], clean[1])


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"first_layer must be one of the 3 blocks.*first_layer=3"):
        explain_images("legrad", small.timm_vit(), small.images(2), first_layer=3)
    with pytest.raises(ValueError, match=r"one attention of all tokens each.*kinds: window.*use grad_cam"):
        explain_images("legrad", small.swin(), small.images(2, 8, 8))
    with pytest.raises(ValueError, match=r"this specimen has none.*use grad_cam"):
        explain_images("legrad", replace(small.timm_vit(), layout=None), small.images(2))


class Detour(Tiny):
    """Something is done between the blocks."""

    def forward(self, pixels):
        tokens = self.blocks[0](self.embed(pixels.flatten(2).mT))
        return self.head(self.blocks[1](tokens * 2).mean(1))


class Widening(Tiny):
    """The second block gives fewer tokens."""

    def forward(self, pixels):
        tokens = self.blocks[0](self.embed(pixels.flatten(2).mT))
        return self.head(self.blocks[1](tokens).mean(1))


@pytest.mark.parametrize(
    ("model", "message"),
    [(Detour, "straight to the next one, but blocks.1"), (Widening, "outputs have one shape")],
)
def test_blocks_that_are_no_chain_are_refused(model, message):
    made = model(False).double().eval()
    if model is Widening:
        made.blocks[1].forward = lambda tokens: Block.forward(made.blocks[1], tokens)[:, :2]
    specimen = replace(tiny(False), model=made)
    with pytest.raises(ValueError, match=message):
        early_answers(specimen, torch.rand(2, 3, 1, 3, dtype=torch.float64))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in made.modules())
    assert all(parameter.requires_grad for parameter in made.parameters())


class Whispering(Tiny):
    """The last block leaves something behind for the end that its output does not hold."""

    def forward(self, pixels):
        tokens = self.blocks(self.embed(pixels.flatten(2).mT))
        aside, self.aside = getattr(self, "aside", 0.0), getattr(self, "aside", 0.0) + 1.0
        return self.head(tokens.mean(1)) + aside


def test_an_end_that_answers_otherwise_alone_is_refused():
    specimen = replace(tiny(False), model=Whispering(False).double().eval())
    with pytest.raises(ValueError, match=r"whose end can be run alone.*use relevance"):
        early_answers(specimen, torch.rand(2, 3, 1, 3, dtype=torch.float64))
