"""What an operation costs in energy: arithmetic is cheap, fetching a number from memory is not."""

from __future__ import annotations

from course_lib.errors import CourseError, require_choice

# Horowitz, ISSCC 2014: 45 nm, 0.9 V, in the 32-bit form printed by Han et al. 2015; 8- and 16-bit rows from the talk.
PICOJOULES = {
    "int8 add": 0.03,
    "int32 add": 0.1,
    "float16 add": 0.4,
    "float32 add": 0.9,
    "int8 multiply": 0.2,
    "int32 multiply": 3.1,
    "float16 multiply": 1.1,
    "float32 multiply": 3.7,
    "32 bits from SRAM": 5.0,
    "32 bits from DRAM": 640.0,
}
# A product is added up in the wider format: int8 products in int32.
MAC_PARTS = {
    "float32": ("float32 multiply", "float32 add"),
    "float16": ("float16 multiply", "float16 add"),
    "int8": ("int8 multiply", "int32 add"),
}


def energy_pj(macs: int, *, number: str = "float32", sram_bytes: int = 0, dram_bytes: int = 0) -> float:
    """The energy of `macs` multiply-adds and of the bytes they fetch, in picojoules (10⁻¹² J).

    E = macs · (multiply + add) + words from SRAM · 5 pJ + words from DRAM · 640 pJ, a word being 4 bytes.

    Args:
        macs: multiply-adds, 0 or more.
        number: "float32", "float16" or "int8" (added up in int32).
        sram_bytes, dram_bytes: what is fetched from on-chip and from main memory, in bytes, 0 or more.

    Raises:
        CourseError: an unknown number format, or a negative count.

    >>> round(energy_pj(1000))
    4600
    >>> round(energy_pj(1000, dram_bytes=4000))
    644600

    Horowitz 2014; Han et al. 2015. Lesson 01.
    """
    require_choice("number", number, MAC_PARTS)
    for name, count in (("macs", macs), ("sram_bytes", sram_bytes), ("dram_bytes", dram_bytes)):
        if count < 0:
            raise CourseError(f"{name} counts something, so it is 0 or more, but you passed {count}.")
    arithmetic = macs * sum(PICOJOULES[part] for part in MAC_PARTS[number])
    fetched = sram_bytes / 4 * PICOJOULES["32 bits from SRAM"] + dram_bytes / 4 * PICOJOULES["32 bits from DRAM"]
    return arithmetic + fetched
