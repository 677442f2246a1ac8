"""MedMNIST's medical images by name: `medmnist:pathmnist`, or larger ones as `medmnist:pathmnist_224`.

The file is looked for as `$ARCHAEOLOGY_DATA/medmnist/NAME.npz`, then where the package `medmnist` keeps its files,
and only then fetched. Class names are those of the package. ChestMNIST (many labels per image) and the volumes
(`...mnist3d`) are no classification of images and are left out. Source: `yang2023medmnist`.
"""

from pathlib import Path

from archaeology.core.registry import unknown_name
from archaeology.data.places import data_folder, fetching
from archaeology.data.registry import image_sources
from archaeology.data.sources.npz import NpzSource

URL = "https://zenodo.org/records/10519652/files/{file}?download=1"
LARGER = ("_64", "_128", "_224")
_ORGANS = (
    "bladder, femur-left, femur-right, heart, kidney-left, kidney-right, "
    "liver, lung-left, lung-right, pancreas, spleen"
)
# Class names, separated by commas; where the package has a comma or a list inside a name it is shortened.
CLASSES = {
    "pathmnist": (
        "adipose, background, debris, lymphocytes, mucus, smooth muscle, normal colon mucosa, "
        "cancer-associated stroma, colorectal adenocarcinoma epithelium"
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma, basal cell carcinoma, benign keratosis-like lesions, "
        "dermatofibroma, melanoma, melanocytic nevi, vascular lesions"
    ),
    "octmnist": "choroidal neovascularization, diabetic macular edema, drusen, normal",
    "pneumoniamnist": "normal, pneumonia",
    "retinamnist": "0, 1, 2, 3, 4",
    "breastmnist": "malignant, normal or benign",
    "bloodmnist": (
        "basophil, eosinophil, erythroblast, immature granulocytes, lymphocyte, monocyte, neutrophil, platelet"
    ),
    "tissuemnist": (
        "Collecting Duct or Connecting Tubule, Distal Convoluted Tubule, Glomerular endothelial cells, "
        "Interstitial endothelial cells, Leukocytes, Podocytes, Proximal Tubule Segments, Thick Ascending Limb"
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
# Of the files with 28x28 pixels; the larger ones are checked only to be whole.
MD5 = {
    "pathmnist": "a8b06965200029087d5bd730944a56c1",
    "dermamnist": "0744692d530f8e62ec473284d019b0c7",
    "octmnist": "c68d92d5b585d8d81f7112f81e2d0842",
    "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
    "retinamnist": "bd4c0672f1bba3e3a89f0e4e876791e4",
    "breastmnist": "750601b1f35ba3300ea97c75c52ff8f6",
    "bloodmnist": "7053d0359d879ad8a5505303e11de1dc",
    "tissuemnist": "ebe78ee8b05294063de985d821c1c34b",
    "organamnist": "68e3f8846a6bd62f0c9bf841c0d9eacc",
    "organcmnist": "b9ceb9546e10131b32923c5bbeaea2b1",
    "organsmnist": "9ab87b696fb54e2a387ebe992d6ed5f1",
}


@image_sources.register("medmnist")
def open_medmnist(rest: str, split: str | None) -> NpzSource:
    """`medmnist:NAME`, with `_64`, `_128` or `_224` behind it for larger images.

    Raises:
        UnknownNameError: If MedMNIST has no such data set of images with one label each.
        FileNotFoundError: If it is absent and cannot be fetched; the message says which file to put where.
    """
    stem = next((rest.removesuffix(size) for size in LARGER if rest.endswith(size)), rest).lower()
    if stem not in CLASSES:
        raise unknown_name("MedMNIST data set", rest, list(CLASSES))
    file = f"{rest.lower()}.npz"
    place = data_folder() / "medmnist"
    found = [folder / file for folder in (place, Path.home() / ".medmnist") if (folder / file).is_file()]
    path = found[0] if found else _fetched(file, place, MD5[stem] if rest.lower() == stem else None)
    return NpzSource(path, split, name=f"medmnist:{rest}", classes=CLASSES[stem].split(", "))


def _fetched(file: str, place: Path, md5: str | None) -> Path:
    from torchvision.datasets.utils import download_url  # heavy

    url = URL.format(file=file)
    with fetching(f"medmnist:{file.removesuffix('.npz')}", place, f"{file} (from {url}) into {place}"):
        download_url(url, str(place), filename=file, md5=md5)
    return place / file
