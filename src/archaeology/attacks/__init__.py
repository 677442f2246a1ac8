"""Attacks: the smallest changes of an image that change the answer, every success checked again."""
