"""Any trained model behind one face: predict on images in [0, 1], classes, sizes, where its tokens lie."""

from archaeology.specimens.bundled import load_bundled as load_bundled
from archaeology.specimens.layout import TokenLayout as TokenLayout
from archaeology.specimens.load import load as load
from archaeology.specimens.run import load_run as load_run
from archaeology.specimens.specimen import Specimen as Specimen
from archaeology.specimens.timm import load_timm as load_timm
