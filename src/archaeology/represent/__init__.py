"""What layers know: how alike they are, what can be read off them, and how they see patches."""

from archaeology.core.facade import make_callable
from archaeology.represent.by_layer import Reading as Reading
from archaeology.represent.by_layer import read_by_layer as read_by_layer
from archaeology.represent.cka import cka as cka
from archaeology.represent.cka import procrustes_distance as procrustes_distance
from archaeology.represent.features import Features as Features
from archaeology.represent.features import cached_features as cached_features
from archaeology.represent.features import extract_features as extract_features
from archaeology.represent.neighbours import leave_one_out as leave_one_out
from archaeology.represent.neighbours import nearest_vote as nearest_vote
from archaeology.represent.objects import find_objects as find_objects
from archaeology.represent.objects import score_objects as score_objects
from archaeology.represent.outliers import find_outliers as find_outliers
from archaeology.represent.patches import patch_colours as patch_colours
from archaeology.represent.patches import patch_features as patch_features
from archaeology.represent.places import layer_paths as layer_paths
from archaeology.represent.probe import few_shot as few_shot
from archaeology.represent.probe import linear_probe as linear_probe
from archaeology.represent.projections import project as project
from archaeology.represent.readouts import readouts as readouts
from archaeology.represent.retrieval import retrieve as retrieve
from archaeology.represent.similarity import Tap as Tap
from archaeology.represent.similarity import feature_similarity as feature_similarity
from archaeology.represent.similarity import layer_similarity as layer_similarity
from archaeology.represent.similarity import readout_similarity as readout_similarity
from archaeology.represent.survey import represent as represent
from archaeology.represent.zero_shot import ZeroShot as ZeroShot
from archaeology.represent.zero_shot import zero_shot as zero_shot

# So that archaeology.represent([vit, cnn], images, labels) reads as in the guide.
make_callable(__name__, represent)
