"""Compares one vector with very many: a million of MiniLM's in some 20 ms of one core.

numpy would turn all the small numbers into large ones first. onnxruntime, which is here for the embedder, multiplies
them as they are, at the speed of the memory, when the many stand in the columns of the matrix.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

LEVELS = 63
"""The query in seven bits. Processors without VNNI add products of neighbours in 16 bits: 2 * 127 * 127 fits. It is
one more than half of that away from 0, since the faster kernel takes no negative numbers."""

ZERO = LEVELS + 1

# onnx.helper: make_node("MatMulInteger", ["a", "b"], ["y"]), a: uint8 [1, k], b: int8 [k, n], y: int32; opset 17.
# Written out because the package onnx takes longer to import than a search takes.
_MODEL = bytes.fromhex(
    "08083a600a180a01610a0162120179220d4d61744d756c496e74656765721201675a140a0161120f0a0d080212090a02"
    "08010a0312016b5a150a016212100a0e0803120a0a0312016b0a0312016e62140a0179120f0a0d080612090a0208010a"
    "0312016e42040a001011"
)


def cosines(
    columns: NDArray[np.int8], sums: NDArray[np.int32], vector: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the product of the vector with each column, which is 127 times a vector of length one.

    `sums` are those of the columns. The error of the seven bits is below that of the eight of the columns.
    """
    if columns.shape[1] == 0:
        return np.zeros(0, np.float32)
    step = float(np.abs(vector).max()) / LEVELS or 1.0
    row = (np.rint(vector / step).astype(np.int16) + ZERO).astype(np.uint8)
    products: NDArray[np.int32] = _session().run(None, {"a": row[None, :], "b": columns})[0][0]
    products -= ZERO * sums
    return products * np.float32(step / 127)


@cache
def _session() -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: all cores
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
