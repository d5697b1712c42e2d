"""The report of a run: one HTML page that needs nothing else, and the curve of the loss as SVG.

    write_report(Path("out/mini-ner"))

Everything is read from the run folder, so the page can be made again at any time, and of a run that was broken off.
It holds numbers, settings and names of files, not a word of the data.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from clinical.finetune.run_folder import RunFolder, flat, write

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 34
COLOURS = {"loss": "#1f6feb", "eval_loss": "#d1570b", "score": "#1a7f37"}
NAMES = {"loss": "training loss", "eval_loss": "held-out loss", "score": "held-out score"}
Points = Sequence[tuple[float, float]]


def write_report(folder: Path) -> Path:
    """Write `loss.svg` and `report.html` into a run folder and return the page."""
    records = RunFolder(folder).records()
    drawing = loss_svg(records)
    write(folder / "loss.svg", drawing)
    page = folder / "report.html"
    write(page, _page(folder, records, drawing))
    return page


def loss_svg(records: Sequence[dict[str, Any]]) -> str:
    """Return the losses by step as an SVG drawing."""
    series = {
        name: [(record["step"], record[name]) for record in records if name in record]
        for name in ("loss", "eval_loss")
    }
    return draw(series, "loss (nats per token)")


def score_svg(records: Sequence[dict[str, Any]]) -> str:
    """Return the held-out score by step as an SVG drawing."""
    return draw(
        {"score": [(record["step"], record["score"]) for record in records if "score" in record]}, "score"
    )


def draw(series: dict[str, list[tuple[float, float]]], title: str) -> str:
    """Return lines over steps as an SVG drawing; values that are no numbers are left out."""
    series = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    points = [point for line in series.values() for point in line]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)} by step" font-family="system-ui, sans-serif" font-size="12" '
        'fill="currentColor">'
    ]
    if not points:
        out.append(
            f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">nothing recorded yet</text></svg>'
        )
        return "\n".join(out) + "\n"
    last = max(step for step, _ in points) or 1
    steps = [step for step in ticks(0, last) if step <= last]
    values = ticks(min(value for _, value in points), max(value for _, value in points))

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - values[0]) / (values[-1] - values[0]))

    for value in values:
        out.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="currentColor" '
            f'stroke-opacity=".15"/><text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for step in steps:
        out.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{step:g}</text>')
    out.append(f'<text x="{LEFT - 8}" y="{HEIGHT - 14}" text-anchor="end" fill-opacity=".7">step</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS.get(name, "currentColor")
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if name != "loss":
            out += [
                f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="3.2" fill="{colour}"/>'
                for step, value in line
            ]
        out.append(
            f'<text x="{WIDTH - RIGHT}" y="{TOP + 12 + 16 * number}" text-anchor="end" fill="{colour}">'
            f"{html.escape(NAMES.get(name, name))}</text>"
        )
    return "\n".join([*out, "</svg>"]) + "\n"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, about `count` of them."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f7; --paper: #fff; --ink: #1c2128; --soft: #5b6572; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0f1318; --paper: #171c23; --ink: #e4e8ee; --soft: #97a2b0; --line: #2b333d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1rem; margin: 0 0 .6rem; }
p.soft { color: var(--soft); margin: 0 0 1.2rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.25rem;
  margin: 0 0 1rem; overflow-x: auto; }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
.figures div { color: var(--soft); font-size: 13px; }
.figures b { display: block; color: var(--ink); font-size: 1.3rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: start; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-weight: normal; overflow-wrap: anywhere; }
th { color: var(--soft); } td.number, th.number { text-align: end; font-variant-numeric: tabular-nums; }
tr.best td { font-weight: 600; } svg { width: 100%; height: auto; } code { font-size: 13px; }
"""


def _page(folder: Path, records: Sequence[dict[str, Any]], drawing: str) -> str:
    run = _json(folder / "run.json")
    card = _json(folder / "clinical.json")
    recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    steps = [record for record in records if "loss" in record]
    scored = [record for record in records if "score" in record]
    base = Path(str(recipe.get("base"))).name
    settings = [(key, value) for key, value in flat(recipe) if value not in ("", None, {}, [])]
    decisions = recipe.get("train", {}).get("loss") == "decisions"
    state = f"kept: the adapter of step {card['dev_step']}" if card else "not finished"
    body = [
        f"<h1>{html.escape(str(recipe.get('name', '')))}</h1>",
        f'<p class="soft">{html.escape(" · ".join((base, str(run.get("date", "")), state)))}</p>',
        _section("", f'<div class="figures">{_figures(run, card, steps, scored)}</div>'),
        _section(
            "Loss of the decisions, and of all answer tokens held out" if decisions else "Loss", drawing
        ),
    ]
    if scored:
        body.append(_section("Scores on what is held out", score_svg(records) + _scores(scored, card)))
    body += [
        _section(
            "Data",
            _table([(name, digest) for name, digest in run.get("data", {}).items()], ("file", "sha256")),
        ),
        _section("Settings", _table(settings, ("key", "value"))),
        _section(
            "Made with", _table([(k, v) for k, v in flat(run) if not k.startswith("data")], ("what", "value"))
        ),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(str(recipe.get('name', 'run')))}: training</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(body)}\n</main>\n</body>\n</html>\n"
    )


def _figures(
    run: dict[str, Any],
    card: dict[str, Any],
    steps: Sequence[dict[str, Any]],
    scored: Sequence[dict[str, Any]],
) -> str:
    figures = []
    if card:
        figures += [(f"{value:.2f}", name.replace("_", " ")) for name, value in card["dev_scores"].items()]
    if steps:
        last = steps[-1]
        # The loss is written every few steps, the score at the end too.
        reached = max(record["step"] for record in (*steps, *scored))
        rates = sorted(record["tokens_per_second"] for record in steps[1:] or steps)
        figures += [
            (f"{reached} of {run.get('steps', '?')}", "steps"),
            (f"{last['tokens']:,}", "tokens"),
            (f"{rates[len(rates) // 2]:,.0f}", "tokens per second, median"),
            (duration(last["seconds"]), "time"),
            (f"{max(record['memory_mb'] for record in steps):,.0f} MB", "peak memory"),
        ]
    return "".join(f"<div><b>{html.escape(value)}</b>{html.escape(name)}</div>" for value, name in figures)


def duration(seconds: float) -> str:
    """Return a time for people: `1 h 05 min`, `2 min 10 s`, `8 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _scores(scored: Sequence[dict[str, Any]], card: dict[str, Any]) -> str:
    names = [name for name in scored[-1] if name not in ("step", "seconds")]
    head = "".join(
        f'<th class="number">{html.escape(name.replace("_", " "))}</th>' for name in ("step", *names)
    )
    rows = []
    for record in scored:
        cells = "".join(
            f'<td class="number">{record.get(name, ""):g}</td>'
            if isinstance(record.get(name), (int, float))
            else "<td></td>"
            for name in ("step", *names)
        )
        kept = ' class="best"' if card and record["step"] == card["dev_step"] else ""
        rows.append(f"<tr{kept}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _section(title: str, content: str) -> str:
    head = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"<section>{head}{content}</section>"


def _table(rows: Sequence[tuple[str, Any]], head: tuple[str, str]) -> str:
    cells = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td><code>{html.escape(str(value))}</code></td></tr>"
        for name, value in rows
    )
    return (
        f"<table><thead><tr><th>{head[0]}</th><th>{head[1]}</th></tr></thead><tbody>{cells}</tbody></table>"
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
