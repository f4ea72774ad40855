"""Quantization: fewer bits for every number. The grid itself is here; each step beyond has its own module."""

from course_lib.quantization.uniform import (
    QParams,
    choose_qparams,
    dequantize,
    fake_quantize,
    qparams_of_range,
    quantize,
    signal_to_noise,
)

__all__ = [
    "QParams", "choose_qparams", "dequantize", "fake_quantize", "qparams_of_range", "quantize", "signal_to_noise",
]  # fmt: skip
