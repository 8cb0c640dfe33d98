"""Makes digits-images-idx3-ubyte.gz and digits-labels-idx1-ubyte.gz from scikit-learn's digits.csv.gz.

    python3 make_digits.py PATH/TO/sklearn/datasets/data/digits.csv.gz

Each line of the CSV is 64 pixels (0..16, row by row) and the label. The order of the file is kept.
"""

import gzip
import struct
import sys
from pathlib import Path

rows = [[int(float(v)) for v in line.split(",")] for line in gzip.open(sys.argv[1], "rt")]
assert len(rows) == 1797 and all(len(row) == 65 for row in rows)
here = Path(__file__).parent


def write(name, dims, values):
    header = struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims)
    # mtime=0: the same input gives the same file.
    (here / name).write_bytes(gzip.compress(header + bytes(values), 9, mtime=0))


write("digits-images-idx3-ubyte.gz", [len(rows), 8, 8], [v for row in rows for v in row[:64]])
write("digits-labels-idx1-ubyte.gz", [len(rows)], [row[64] for row in rows])
