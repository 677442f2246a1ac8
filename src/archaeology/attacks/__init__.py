"""Attacks: the smallest changes of an image that change the answer, every success checked again."""

from archaeology.attacks.apgd import apgd as apgd
from archaeology.attacks.banded_pgd import banded_pgd as banded_pgd
from archaeology.attacks.carlini_wagner import carlini_wagner as carlini_wagner
from archaeology.attacks.deep_fool import deep_fool as deep_fool
from archaeology.attacks.fgsm import fgsm as fgsm
from archaeology.attacks.fmn import fmn as fmn
from archaeology.attacks.method import attack_images as attack_images
from archaeology.attacks.method import attacks as attacks
from archaeology.attacks.patch import patch as patch
from archaeology.attacks.pgd import pgd as pgd
from archaeology.attacks.result import AttackResult as AttackResult
from archaeology.attacks.square import square as square
from archaeology.attacks.victim import Asked as Asked
