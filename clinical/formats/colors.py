"""The colour of each label, one for the terminal and the pages: hue in degrees and saturation in percent.

Labels that are read together lie close together: what ails the patient is red to yellow, what is given blue
to violet, what is measured green, and what places it all in time is pale. A label of the user's own gets a
hue from its name, always the same.
"""

from __future__ import annotations

import colorsys
import zlib

_COLORS = {
    "Disease": (2, 90), "Symptom": (27, 95), "Severity": (47, 95), "Outcome": (345, 60),
    "History": (15, 45), "Family_history": (35, 45), "Event": (55, 40), "Activity": (70, 45),
    "Medication": (214, 95), "Dosage": (238, 90), "Frequency": (262, 85), "Route": (284, 75),
    "Procedure": (318, 80), "Test": (165, 70), "Result": (128, 60), "Size": (95, 55), "Anatomy": (188, 80),
    "Descriptor": (80, 40), "Gene": (150, 50), "Species": (110, 40), "Age": (30, 30), "Sex": (350, 30),
    "Date": (210, 25), "Duration": (240, 25), "Location": (180, 25), "Background": (60, 25),
}  # fmt: skip


def color(label: str) -> tuple[int, int]:
    """Return hue (0 to 359) and saturation (0 to 100) of a label."""
    return _COLORS.get(label) or (zlib.crc32(label.encode("utf-8", "replace")) * 47 % 360, 75)


def terminal_style(label: str) -> str:
    """Return the style of a mention in the terminal: dark letters on a light ground, legible anywhere."""
    hue, saturation = color(label)
    red, green, blue = colorsys.hls_to_rgb(hue / 360, 0.82, saturation / 100)
    return f"#111111 on #{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
