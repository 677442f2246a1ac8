"""Why models fail: causes, shortcuts, slices, what attention does there, what mends an answer, and a taxonomy."""

from archaeology.failures.attributes import measured_attributes as measured_attributes
from archaeology.failures.causes import Causes as Causes
from archaeology.failures.causes import find_causes as find_causes
from archaeology.failures.duplicates import duplicates_across as duplicates_across
from archaeology.failures.duplicates import duplicates_within as duplicates_within
from archaeology.failures.label_errors import LabelErrors as LabelErrors
from archaeology.failures.label_errors import confident_joint as confident_joint
from archaeology.failures.label_errors import neighbour_dissent as neighbour_dissent
from archaeology.failures.planted import plant as plant
from archaeology.failures.shortcuts import find_shortcuts as find_shortcuts
