"""Reading, differentiating and editing attention in any PyTorch model; the only place with hooks."""

from archaeology.capture.attention import Attention as Attention
from archaeology.capture.checks import check_capture as check_capture
from archaeology.capture.edit import Edits as Edits
from archaeology.capture.edit import HeadEdit as HeadEdit
from archaeology.capture.edit import HeadWatch as HeadWatch
from archaeology.capture.edit import PatternEdit as PatternEdit
from archaeology.capture.interceptor import intercepted as intercepted
from archaeology.capture.places import Places as Places
from archaeology.capture.places import global_pattern as global_pattern
from archaeology.capture.provenance import places_of as places_of
from archaeology.capture.record import CapturedPattern as CapturedPattern
from archaeology.capture.record import Record as Record
from archaeology.capture.record import capture as capture
from archaeology.core.facade import make_callable

make_callable(__name__, capture)  # so that archaeology.capture(...) reads as in the README
