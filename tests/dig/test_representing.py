"""What a dig tells the survey of layers."""

import numpy as np

from archaeology.dig.labels import ClassMatch
from archaeology.dig.representing import right_about


def test_one_image_without_a_label_leaves_the_others_their_answers():
    match = ClassMatch(np.array([4, 7, 2]), "")
    said = np.array([4, 2, 2, 7])
    assert right_about(said, np.array([0, -1, 2, 0]), match).tolist() == [True, False, True, False]
    assert right_about(said, np.array([-1, -1, -1, -1]), match) is None
    assert right_about(said, np.array([0, 1, 2, 0]), ClassMatch(None, "other names")) is None
