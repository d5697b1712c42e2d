"""The templates of the pages, and what makes a page self-contained and safe.

Jinja2 escapes every value (autoescape), so a note that holds `<script>` shows it as text. As a second wall
the page forbids itself all connections, and all scripts but its own, which it names by hash.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from clinical.formats.streams import encode

if TYPE_CHECKING:
    from jinja2 import Environment


def fill(template: str, **values: object) -> bytes:
    """Return the template with these values, in UTF-8; a value that it wants and does not get is an error."""
    return encode(_environment().get_template(template).render(**values))


def policy(*scripts: str) -> str:
    """Return the content security policy of a page with these scripts: nothing else runs or is loaded."""
    hashes = " ".join(f"'sha256-{_digest(read(script))}'" for script in scripts)
    closed = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{closed}; style-src 'unsafe-inline'; script-src {hashes}"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def read(name: str) -> str:
    """Return a file of this package."""
    return resources.files("clinical.formats").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Only files of this package go into a page unescaped.
    environment.globals["file"] = lambda name: Markup(read(name))
    environment.globals["policy"] = policy
    return environment
