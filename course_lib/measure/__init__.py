"""What a network costs: parameters, multiplications, bytes, milliseconds, memory, energy. Lesson 01."""

from course_lib.measure.clock import Latency, latency
from course_lib.measure.costs import (
    LayerCost,
    compression_ratio,
    layer_costs,
    nonzero_count,
    parameter_count,
    theoretical_speedup,
)
from course_lib.measure.energy import PICOJOULES, energy_pj
from course_lib.measure.memory import peak_bytes, saved_bytes, stored_bytes

__all__ = [
    "PICOJOULES",
    "Latency",
    "LayerCost",
    "compression_ratio",
    "energy_pj",
    "latency",
    "layer_costs",
    "nonzero_count",
    "parameter_count",
    "peak_bytes",
    "saved_bytes",
    "stored_bytes",
    "theoretical_speedup",
]
