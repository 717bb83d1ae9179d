"""secagg: secure aggregation for hospitals; the protocol core, which does no I/O.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS 2017),
in the variant that withstands an active adversary. docs/protocol.md is its specification.
"""

from secagg.simulate import Simulation, simulate

__all__ = ["Simulation", "simulate"]
