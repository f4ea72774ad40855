"""One file in two parts: a header of small numbers, compressed as a whole, and a body of streams that nothing compresses.

Magic word · checksum of all that follows · length of the header · header · body.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from course_lib.errors import CourseError

MAGIC = b"SNDC"  # Small Nets, Deep Compression
LARGEST_HEADER = 1 << 28  # bytes; a crafted file may claim more
MOST_NUMBERS = 1 << 30  # in all tensors together; the same


@dataclass
class Writer:
    """Collects header and body; every block of the body says what it holds."""

    head: bytearray = field(default_factory=bytearray)
    body: list[tuple[str, bytes]] = field(default_factory=list)

    def number(self, value: int) -> None:
        """A whole number of 0 or more, 7 bits a byte, the lowest first; the eighth bit says that more follow."""
        while value >= 128:
            self.head.append(value & 127 | 128)
            value >>= 7
        self.head.append(value)

    def text(self, data: bytes) -> None:
        """Some bytes, after their length."""
        self.number(len(data))
        self.head += data

    def block(self, what: str, data: bytes) -> None:
        """A stream of the body."""
        self.body.append((what, data))

    def sealed(self) -> bytes:
        """The whole file."""
        squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
        squeezed = squeezer.compress(bytes(self.head)) + squeezer.flush()
        is_smaller = len(squeezed) < len(self.head)
        stored = squeezed if is_smaller else bytes(self.head)
        front = Writer()
        front.number(2 * len(stored) + is_smaller)
        rest = bytes(front.head) + stored + b"".join(data for _, data in self.body)
        return MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest


@dataclass
class Reader:
    """Reads what a Writer wrote, in the same order."""

    head: bytes
    body: bytes
    at: int = 0
    at_body: int = 0
    room: int = MOST_NUMBERS

    @staticmethod
    def opened(data: bytes, most_numbers: int = MOST_NUMBERS) -> Reader:
        """Header and body of a file that `require_intact` lets pass."""
        front = Reader(data[8:18], b"")
        size = front.number()
        start, end = 8 + front.at, 8 + front.at + size // 2
        head = data[start:end]
        if size % 2:
            head = zlib.decompressobj(-15).decompress(head, LARGEST_HEADER)
        return Reader(head, data[end:], room=most_numbers)

    def make_room(self, numbers: int) -> None:
        """Before memory is taken for a tensor: a few bytes may announce billions of zeros."""
        self.room -= numbers
        if self.room < 0:
            raise CourseError("The file announces more numbers than are allowed here, so it was not read.")

    def number(self) -> int:
        """A whole number of 0 or more."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def take(self, size: int) -> bytes:
        """The next bytes of the header."""
        self.at += size
        return exactly(self.head[self.at - size : self.at], size)

    def text(self) -> bytes:
        """Some bytes after their length."""
        return self.take(self.number())

    def block(self, size: int) -> bytes:
        """The next bytes of the body."""
        self.at_body += size
        return exactly(self.body[self.at_body - size : self.at_body], size)

    def close(self) -> None:
        """Everything must have been read."""
        if self.at != len(self.head) or self.at_body != len(self.body):
            raise CourseError("The file holds more than its header says: it was not written by deep_compression.save.")


def require_intact(data: bytes) -> None:
    """Refuse a file of another kind, and one of which a single bit has changed."""
    if data[:4] != MAGIC:
        raise CourseError("This is not a file that deep_compression.save wrote: it begins otherwise.")
    if len(data) < 9 or zlib.crc32(data[8:]).to_bytes(4, "little") != data[4:8]:
        raise CourseError("The file is damaged: it was cut off or changed after it was written. Get or save it anew.")


def exactly(data: bytes, size: int) -> bytes:
    """The bytes, if they are as many as asked for."""
    if len(data) != size:
        raise CourseError(
            "The file ends before what its header announces: it was not written by deep_compression.save."
        )
    return data
