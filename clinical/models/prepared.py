"""Makes encoders ready for this machine, once: exported from torch, weights in int8, kept in the cache.

torch needs seconds to start and runs MiniLM at half the speed; onnxruntime starts in tenths of a second. A file is
named by what it was made of, so new weights or a new recipe of preparation make a new file and never read an old one.
Quantization: onnxruntime's dynamic int8, one scale per output channel, activations scaled as they come.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.models import cache

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


def int8_file(folder: str, name: str, what: str, write: Callable[[Path], None]) -> Path:
    """Return `folder/name.onnx` of the cache; made first if it is not there yet.

    `write` puts the exact model into a file of its own. `what` names the model in the remark for the user.
    """
    target = cache.folder(folder) / f"{name}.onnx"
    if not target.is_file():
        _log.info("preparing %s for this machine (once, some ten seconds)", what)
        # Under another name first: another process may be doing the same, or this one be killed.
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch, quiet():
            exact, quantized = Path(scratch) / "exact.onnx", Path(scratch) / "int8.onnx"
            write(exact)
            _quantize(exact, quantized)
            os.replace(quantized, target)
    return target


def export(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    output: str,
    axes: Mapping[str, Mapping[int, str]],
    target: Path,
) -> None:
    """Write the module as ONNX; `axes` names, for inputs and output, the dimensions that vary."""
    import torch

    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        str(target),
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes={name: dict(sizes) for name, sizes in axes.items()},
        opset_version=17,
        dynamo=False,
    )


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' remarks and bars off the user's terminal; their errors still come."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
