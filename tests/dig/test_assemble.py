"""Two models that name no classes say the same where they mean the same class of the data."""

import numpy as np

from archaeology.dig.assemble import names_of, same_predictions
from archaeology.dig.labels import match_classes

DATA = ("airplane", "bird", "cat")


def said(classes, prediction):
    return names_of(np.array(prediction), classes, match_classes(DATA, classes), DATA)


def test_a_model_without_names_answers_with_those_of_the_data():
    nameless = said(("LABEL_0", "LABEL_1", "LABEL_2"), [0, 1, 2])
    assert nameless == list(DATA)
    assert same_predictions(said(DATA, [0, 1, 1]), nameless).tolist() == [True, True, False]


def test_a_model_keeps_its_own_names_and_those_that_the_data_lacks():
    classes = ("dog", "Cat", "bird, fowl", "airplane")
    assert said(classes, [0, 1, 2, 3, 4]) == ["dog", "Cat", "bird, fowl", "airplane", "output 4"]
    assert said(("dog", "horse"), [1, 0]) == ["horse", "dog"]  # matched by nothing
