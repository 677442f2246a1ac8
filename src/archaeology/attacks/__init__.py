"""Attacks: the smallest changes of an image that change the answer, every success checked again."""

from archaeology.attacks.apgd import apgd as apgd
from archaeology.attacks.banded_pgd import banded_pgd as banded_pgd
from archaeology.attacks.fgsm import fgsm as fgsm
from archaeology.attacks.method import attack_images as attack_images
from archaeology.attacks.method import attacks as attacks
from archaeology.attacks.pgd import pgd as pgd
from archaeology.attacks.result import AttackResult as AttackResult
