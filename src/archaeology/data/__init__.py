"""Images from anywhere, decoded once: `decode_once(open_source("folder:photos/"), (224, 224))`."""

from archaeology.data.augment import crop_and_flip as crop_and_flip
from archaeology.data.cache import decode_once as decode_once
from archaeology.data.chosen import choose_evenly as choose_evenly
from archaeology.data.chosen import labelled as labelled
from archaeology.data.decoded import DecodedImages as DecodedImages
from archaeology.data.open import open_source as open_source
from archaeology.data.registry import image_sources as image_sources
from archaeology.data.source import ImageSource as ImageSource
from archaeology.data.source import Sample as Sample
from archaeology.data.worlds.cue_conflict import CueConflict as CueConflict
