"""The IDX format of the MNIST files.

A file is a big-endian header ``0 0 code rank n_1 ... n_rank`` (two zero bytes, one byte naming
the element type, one byte for the rank, then ``rank`` 32-bit sizes) followed by ``n_1 x ... x
n_rank`` big-endian elements and nothing else; it may be wrapped in gzip.
Source: LeCun, Cortes and Burges (1998), "The MNIST database of handwritten digits".
"""

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

ELEMENT_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an IDX file, gzipped or not, in native byte order.

    Raises:
        ValueError: the file is missing, has another magic number or element type, or holds fewer or
            more elements than its header declares.

    >>> with open("labels-idx1-ubyte", "wb") as file:
    ...     size = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> ppl_gen.data.read_idx("labels-idx1-ubyte")
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        with gzip.open(path) if zipped else path.open("rb") as stream:
            return _read(stream, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"expected a whole gzip file, got a damaged {path}: {error}") from error
    except OSError as error:
        raise ValueError(f"expected a readable IDX file, got {path}: {error.strerror}") from error


def _read(stream: gzip.GzipFile | io.BufferedReader, path: Path) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in ELEMENT_TYPES or magic[3] == 0:
        raise ValueError(
            f"expected an IDX magic number (0, 0, element type, rank) in {path}, got {magic!r}"
        )
    code, rank = magic[2], magic[3]
    header = stream.read(4 * rank)
    if len(header) < 4 * rank:
        raise ValueError(f"expected {rank} sizes in the header of {path}, got a truncated header")
    shape = struct.unpack(f">{rank}I", header)
    dtype = np.dtype(ELEMENT_TYPES[code])
    expected = math.prod(shape) * dtype.itemsize
    # Read in pieces: a corrupt header may declare far more than there is, or than fits.
    content = bytearray()
    while len(content) <= expected and (piece := stream.read(1 << 20)):
        content += piece
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content)}"
        raise ValueError(f"expected {expected} bytes for shape {shape} in {path}, got {found}")
    return np.frombuffer(bytes(content), dtype).reshape(shape).astype(dtype.newbyteorder("="))
