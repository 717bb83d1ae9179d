"""Differential privacy of the released integers: sampler, mechanism, accounting, budget.

The theorems that these modules implement are stated and proved in docs/privacy.md.
"""
