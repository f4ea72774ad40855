"""Attention, exact and cheaper: tiled, windowed, linear, and the cache of keys and values. Lesson 16."""

from course_lib.attention.cache import KeyValueCache, QuantizedCache
from course_lib.attention.exact import attention
from course_lib.attention.linear import linear_attention
from course_lib.attention.tiled import tiled_attention
from course_lib.attention.windowed import window_mask, windowed_attention

__all__ = [
    "KeyValueCache",
    "QuantizedCache",
    "attention",
    "linear_attention",
    "tiled_attention",
    "window_mask",
    "windowed_attention",
]
