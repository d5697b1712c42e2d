"""One training run in a process of its own, to be killed: `finetune_driver.py BASE OUT CHANGES…`, records on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from finetune_base import recipe

from clinical.finetune.training import train

if __name__ == "__main__":
    train(
        recipe(sys.argv[1], *sys.argv[3:]),
        Path(sys.argv[2]),
        watch=lambda record: print(json.dumps(record), flush=True),
    )
