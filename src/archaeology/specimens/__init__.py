"""Any trained model behind one face: predict on images in [0, 1], classes, sizes, where its tokens lie."""

from archaeology.specimens.bundled import load_bundled as load_bundled
from archaeology.specimens.huggingface import load_huggingface as load_huggingface
from archaeology.specimens.huggingface_text import load_huggingface_pair as load_huggingface_pair
from archaeology.specimens.image_text import ImageTextModel as ImageTextModel
from archaeology.specimens.image_text import load_image_text as load_image_text
from archaeology.specimens.image_text_run import load_image_text_run as load_image_text_run
from archaeology.specimens.layout import TokenLayout as TokenLayout
from archaeology.specimens.load import load as load
from archaeology.specimens.module import of_module as of_module
from archaeology.specimens.open_clip import load_open_clip as load_open_clip
from archaeology.specimens.run import load_run as load_run
from archaeology.specimens.specimen import Specimen as Specimen
from archaeology.specimens.timm import load_timm as load_timm
from archaeology.specimens.torchvision import load_torchvision as load_torchvision
