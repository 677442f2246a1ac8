"""Judges of explanations: which picture to believe, in numbers, against chance and the truth where it is known."""

from archaeology.evaluate.complexity import complexity as complexity
from archaeology.evaluate.counterfactuals import Counterfactuals as Counterfactuals
from archaeology.evaluate.counterfactuals import compared_counterfactuals as compared_counterfactuals
from archaeology.evaluate.counterfactuals import fewest_patches as fewest_patches
from archaeology.evaluate.deletion import deletion as deletion
from archaeology.evaluate.insertion import insertion as insertion
from archaeology.evaluate.judge import Judge as Judge
from archaeology.evaluate.judge import Marks as Marks
from archaeology.evaluate.judge import judges as judges
from archaeology.evaluate.judge import mark as mark
from archaeology.evaluate.leaderboard import Leaderboard as Leaderboard
from archaeology.evaluate.leaderboard import leaderboard as leaderboard
from archaeology.evaluate.mass_inside import mass_inside as mass_inside
from archaeology.evaluate.pointing_game import pointing_game as pointing_game
from archaeology.evaluate.randomization import randomization as randomization
from archaeology.evaluate.randomization import sanity_of as sanity_of
from archaeology.evaluate.road import road as road
from archaeology.evaluate.sensitivity_n import sensitivity_n as sensitivity_n
from archaeology.evaluate.sheet import Sheet as Sheet
from archaeology.evaluate.sheet import mark_all as mark_all
from archaeology.evaluate.sparseness import sparseness as sparseness
from archaeology.evaluate.srg import srg as srg
from archaeology.evaluate.stability import stability as stability
from archaeology.evaluate.trial import Trial as Trial
from archaeology.evaluate.trial import trial_of as trial_of
