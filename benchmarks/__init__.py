"""Measurements and the demonstration, printed by `secagg demo` and the scripts here."""
