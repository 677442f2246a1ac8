"""One small model of random weights for every family of image models: how each is built, and at which image size."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SIZES = (64, 96, 128, 160, 192, 224, 256)
TIMM = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet26t",
    "byobnet": "mobileone_s0",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cspresnet50",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_distilled_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "efficientnet_lite0",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_sa12",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_a",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "maxxvit": "maxvit_rmlp_pico_rw_256",
    "metaformer": "caformer_s18",
    "mlp_mixer": "mixer_s32_224",
    "mobilenetv3": "lcnet_035",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "nfnet_l0",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9",
    "res2net": "res2net50_26w_4s",
    "resnest": "resnest14d",
    "resnet": "resnet10t",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42b",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_ns_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "vit_relpos_small_patch16_224",
    "vision_transformer_sam": "samvit_base_patch16",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "vovnet39a",
    "xception": "legacy_xception",
    "xception_aligned": "xception41",
    "xcit": "xcit_nano_12_p16_224",
}
TINY = {"depth": 2, "embed_dim": 96, "num_heads": 2}
OPTIONS: dict[str, dict[str, Any]] = {  # where even the smallest published model is large
    "beit": TINY,
    "deepseek_vit": TINY,
    "eva": {"depth": 2},
    "gemma4_vit": TINY,
    "naflexvit": TINY,
    "qwen3_vit": TINY,
    "vision_transformer": {"depth": 2},
    "vision_transformer_relpos": {"depth": 2},
    "vision_transformer_sam": {"depth": 3, "embed_dim": 96, "num_heads": 2, "global_attn_indexes": (2,)},
}
SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 8,
}
STAGES = {"image_size": 64, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
HUGGING_FACE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vit": ("ViTConfig", "ViTForImageClassification", SMALL),
    "deit": ("DeiTConfig", "DeiTForImageClassification", SMALL),
    "dinov2": ("Dinov2Config", "Dinov2ForImageClassification", SMALL),
    "dinov2_with_registers": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersForImageClassification",
        SMALL,
    ),
    "dinov3_vit": ("DINOv3ViTConfig", "DINOv3ViTModel", SMALL),
    "beit": ("BeitConfig", "BeitForImageClassification", SMALL),
    "data2vec_vision": ("Data2VecVisionConfig", "Data2VecVisionForImageClassification", SMALL),
    "swin": ("SwinConfig", "SwinForImageClassification", STAGES),
    "swinv2": ("Swinv2Config", "Swinv2ForImageClassification", STAGES),
    "clip": ("CLIPVisionConfig", "CLIPVisionModel", SMALL),
    "siglip": ("SiglipVisionConfig", "SiglipVisionModel", SMALL),
    "aimv2": ("Aimv2VisionConfig", "Aimv2VisionModel", SMALL),
    "ijepa": ("IJepaConfig", "IJepaForImageClassification", SMALL),
    "vit_mae": ("ViTMAEConfig", "ViTMAEModel", {**SMALL, "mask_ratio": 0.0}),
    "vit_msn": ("ViTMSNConfig", "ViTMSNForImageClassification", SMALL),
    "yolos": ("YolosConfig", "YolosModel", {**SMALL, "image_size": [64, 64], "num_detection_tokens": 5}),
    "sam": (
        "SamVisionConfig",
        "SamVisionModel",
        {**SMALL, "window_size": 3, "global_attn_indexes": [1], "output_channels": 16},
    ),
    "vitdet": ("VitDetConfig", "VitDetModel", {**SMALL, "window_size": 3, "window_block_indices": [0]}),
    "hiera": (
        "HieraConfig",
        "HieraForImageClassification",
        {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]},
    ),
    "levit": ("LevitConfig", "LevitForImageClassification", {"image_size": 64}),
    "cvt": ("CvtConfig", "CvtForImageClassification", {}),
    "pvt": (
        "PvtConfig",
        "PvtForImageClassification",
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
        },
    ),
    "pvt_v2": (
        "PvtV2Config",
        "PvtV2ForImageClassification",
        {
            "image_size": 64,
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
        },
    ),
    "segformer": (
        "SegformerConfig",
        "SegformerForImageClassification",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]},
    ),
    "mobilevit": ("MobileViTConfig", "MobileViTForImageClassification", {"image_size": 64}),
    "mobilevitv2": ("MobileViTV2Config", "MobileViTV2ForImageClassification", {"image_size": 64}),
    "swiftformer": ("SwiftFormerConfig", "SwiftFormerForImageClassification", {"image_size": 64}),
    "focalnet": (
        "FocalNetConfig",
        "FocalNetForImageClassification",
        {"image_size": 64, "depths": [1, 1, 1, 1]},
    ),
    "poolformer": ("PoolFormerConfig", "PoolFormerForImageClassification", {"depths": [1, 1, 1, 1]}),
    "convnext": ("ConvNextConfig", "ConvNextForImageClassification", {"depths": [1, 1, 1, 1]}),
    "glpn": (
        "GLPNConfig",
        "GLPNModel",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]},
    ),
    "dpt": ("DPTConfig", "DPTModel", {**SMALL, "backbone_out_indices": [0, 1], "is_hybrid": False}),
    "perceiver": (
        "PerceiverConfig",
        "PerceiverForImageClassificationConvProcessing",
        {
            "num_latents": 7,
            "d_latents": 48,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 3,
            "num_cross_attention_heads": 1,
            "num_labels": 5,
        },
    ),
}
TORCHVISION: dict[str, tuple[str, int, dict[str, Any]]] = {
    "vision_transformer": (
        "VisionTransformer",
        64,
        {
            "image_size": 64,
            "patch_size": 16,
            "num_layers": 2,
            "num_heads": 3,
            "hidden_dim": 48,
            "mlp_dim": 64,
        },
    ),
    "swin_transformer": (
        "SwinTransformer",
        64,
        {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": [7, 7]},
    ),
    "swin_transformer_v2": (
        "SwinTransformer",
        64,
        {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": [4, 4]},
    ),
    "maxvit": (
        "MaxVit",
        64,
        {
            "input_size": (64, 64),
            "stem_channels": 16,
            "partition_size": 4,
            "block_channels": [16, 32],
            "block_layers": [1, 2],
            "head_dim": 16,
            "stochastic_depth_prob": 0.0,
        },
    ),
}
OPEN_CLIP = {"ViT": "ViT-B-32", "CoCa": "coca_ViT-B-32", "ModifiedResNet": "RN50"}
OURS = ("vit", "deit", "swin", "efficientvit", "convnet", "encoder_decoder")


@dataclass(frozen=True, eq=False)
class Case:
    """A model, and what is needed to look at it.

    Attributes:
        name: In its library.
        model: In evaluation mode.
        run: Runs it on images and gives its output tensor.
        size: Side of the images it is given.
        own_patterns: Runs a twin with the same weights and gives the library's own attention weights, where it has
            a way to show them.
    """

    name: str
    model: nn.Module
    run: Callable[[Tensor], Tensor]
    size: int
    own_patterns: Callable[[Tensor], list[Tensor]] | None = None


def cases() -> list[tuple[str, str]]:
    """Library and family of each."""
    return [
        *(("timm", family) for family in TIMM),
        *(("transformers", family) for family in HUGGING_FACE),
        *(("torchvision", family) for family in TORCHVISION),
        *(("open_clip", family) for family in OPEN_CLIP),
        *(("archaeology", family) for family in OURS),
    ]


def build(library: str, family: str) -> Case:
    """The model of a family, with random weights."""
    return {
        "timm": _timm,
        "transformers": _hugging_face,
        "torchvision": _torchvision,
        "open_clip": _open_clip,
        "archaeology": _ours,
    }[library](family)


def answer_of(output: Any) -> Tensor:
    """The first tensor in what a model returns."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if hasattr(output, "values") else output
    return next(answer_of(part) for part in parts if part is not None)


def _runner(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(images: Tensor) -> Tensor:
        import torch

        torch.manual_seed(0)  # for models that draw numbers in evaluation mode too
        return answer_of(model(images))

    return run


def _timm(family: str) -> Case:
    import timm
    import torch

    name = TIMM[family]
    model, size = _smallest_timm(name, family)

    def own_patterns(images: Tensor) -> list[Tensor]:
        timm.layers.set_fused_attn(False)
        try:
            twin, _ = _smallest_timm(name, family, size)
        finally:
            timm.layers.set_fused_attn(True)
        twin.load_state_dict(model.state_dict())
        found: list[Tensor] = []
        with torch.no_grad():
            for path, module in twin.named_modules():
                if path.endswith("attn_drop"):
                    module.register_forward_hook(lambda _module, _given, output: found.append(output))
            twin(images)
        return found

    return Case(name, model, _runner(model), size, own_patterns)


def _smallest_timm(name: str, family: str, only: int | None = None) -> tuple[nn.Module, int]:
    """The model at the smallest image that it can be built for and run on."""
    import timm
    import torch

    for size in (only,) if only else SIZES:
        for options in (OPTIONS.get(family, {}),):
            for sized in ({"img_size": size}, {}):
                try:
                    torch.manual_seed(0)
                    model = timm.create_model(name, **options, **sized).eval()
                    with torch.no_grad():
                        model(torch.rand(2, 3, size, size))
                    return model, size
                except (TypeError, RuntimeError, AssertionError, ValueError, IndexError, KeyError):
                    continue
    raise RuntimeError(f"{name} runs at none of {SIZES}")


def _hugging_face(family: str) -> Case:
    import torch
    import transformers

    config_name, model_name, options = HUGGING_FACE[family]

    def made(implementation: str | None) -> nn.Module:
        given = (
            dict(options) if implementation is None else {**options, "attn_implementation": implementation}
        )
        torch.manual_seed(0)
        return getattr(transformers, model_name)(getattr(transformers, config_name)(**given)).eval()

    try:
        model = made("sdpa")
    except ValueError:  # this family has eager attention only
        model = made("eager")
    named = inspect.signature(model.forward).parameters
    field = next(field for field in ("pixel_values", "inputs") if field in named)
    size = 224 if family == "perceiver" else 64

    def own_patterns(images: Tensor) -> list[Tensor]:
        twin = made("eager")
        twin.load_state_dict(model.state_dict())
        torch.manual_seed(0)
        with torch.no_grad():
            output = twin(**{field: images}, output_attentions=True)
        found = output.attentions
        return [part for part in found if isinstance(part, Tensor)]

    def run(images: Tensor) -> Tensor:
        torch.manual_seed(0)  # for models that draw numbers in evaluation mode too
        return answer_of(model(**{field: images}))

    return Case(model_name, model, run, size, own_patterns)


def _torchvision(family: str) -> Case:
    import torch
    import torchvision

    name, size, options = TORCHVISION[family]
    torch.manual_seed(0)
    parts = torchvision.models.swin_transformer
    if family == "swin_transformer_v2":
        options = {**options, "block": parts.SwinTransformerBlockV2, "downsample_layer": parts.PatchMergingV2}
    model = getattr(torchvision.models, name)(**options).eval()
    if name == "VisionTransformer":
        nn.init.normal_(
            model.heads.head.weight, std=0.1
        )  # it starts at zero, and every answer would be equal
    return Case(name, model, _runner(model), size)


def _open_clip(family: str) -> Case:
    import open_clip
    import torch

    name = OPEN_CLIP[family]
    torch.manual_seed(0)
    whole = open_clip.create_model(
        name, pretrained=None, force_image_size=64 if family == "ModifiedResNet" else 96
    )
    model = whole.visual.eval()
    return Case(name, model, _runner(model), 64 if family == "ModifiedResNet" else 96)


def _ours(family: str) -> Case:
    import torch

    from archaeology.models.registry import models

    torch.manual_seed(0)
    model = models.get(family)().eval()
    for module in model.modules():
        if isinstance(module, nn.Linear) and not bool(module.weight.any()):
            nn.init.normal_(module.weight, std=0.1)
    size = getattr(model, "image_size", 32)
    return Case(family, model, _runner(model), size if isinstance(size, int) else size[0])
