"""Synthetic patients for the shipped policy template ``respiratory-cardiac``. Nobody is real."""
