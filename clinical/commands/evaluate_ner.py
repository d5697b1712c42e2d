"""`clinical evaluate ner`: how good entity extraction is, against a gold standard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.prompts.labels import Label
    from clinical.scoring.evaluation import Evaluation, Measurement
    from clinical.scoring.gold import Gold
    from clinical.tasks.ner import Recognizer

SYSTEM_SPEC = re.compile(r"(?P<system>[^@:]+)(?:@(?P<scheme>[^:]+))?(?::(?P<model>.+))?")


@click.command()
@click.option(
    "--gold",
    "sources",
    metavar="FILE|FOLDER|CORPUS:SPLIT",
    multiple=True,
    required=True,
    help="Records (.jsonl[.gz]) with text and entities, a brat folder, or a split of a corpus. Repeatable.",
)
@click.option(
    "--systems",
    metavar="S[@SCHEME][:MODEL],…",
    default="light",
    show_default=True,
    help="The systems to measure; the first is compared with each other one.",
)
@click.option("--scheme", help="Annotation guideline for light and scispacy where a system names none.")
@click.option("--labels", metavar="A,B", help="Score these labels only.")
@click.option(
    "--labels-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Labels of your own with their definitions (YAML), in place of the clinical label set.",
)
@click.option(
    "--count-as",
    metavar="SYMPTOM=DISEASE",
    multiple=True,
    help="Ask for a label too and count it as another, when the gold standard does not keep them apart.",
)
@click.option(
    "--context-sentences",
    metavar="N",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="How many sentences of a sentence corpus a system reads at once.",
)
@click.option("--detokenize", is_flag=True, help="Write blank-separated tokens of a corpus as a note would.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N records.")
@click.option("--per-label", is_flag=True, help="Show each label in the table.")
@click.option(
    "--all-cores", is_flag=True, help="Use every core; otherwise one thread, so that speeds compare."
)
@click.option(
    "--format", "format_", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
def ner(
    sources: tuple[str, ...],
    systems: str,
    scheme: str | None,
    labels: str | None,
    labels_file: Path | None,
    count_as: tuple[str, ...],
    context_sentences: int,
    detokenize: bool,
    limit: int | None,
    per_label: bool,
    all_cores: bool,
    format_: str,
) -> None:
    """Measure entity extraction: strict, exact, partial and type scores, and words per second.

    Labels are scored that the gold standard has and every system knows. Sentences of a sentence
    corpus are read in texts of --context-sentences lines, the same for every system. Words are
    counted as blanks separate them; loading is not timed.

    \b
    Examples:
      clinical evaluate ner --gold bc5cdr:test --systems light@bc5cdr,scispacy@bc5cdr
      clinical evaluate ner --gold maccrobat:dev --systems light --per-label
      clinical evaluate ner --gold annotated/ --systems mistral:clinical-mini,light --format json
    """
    from clinical.scoring.evaluation import one_thread
    from clinical.scoring.gold import read_gold
    from clinical.scoring.rendering import render

    specs = [parse_system(spec, scheme) for spec in systems.split(",")]
    merged = parse_count_as(count_as)
    golds = [
        read_gold(source, limit=limit, context_sentences=context_sentences, detokenize=detokenize)
        for source in sources
    ]
    asked = _labels_of(golds, labels, labels_file)
    with nullcontext() if all_cores else one_thread():
        loaded = [(spec, spec.load()) for spec in specs]
        evaluations = [_evaluate(gold, asked, loaded, merged) for gold in golds]
    click.echo(render(evaluations, format_, per_label=per_label), nl=False)


@dataclass(frozen=True)
class SystemSpec:
    """A system as the user names it: `light`, `light@bc5cdr`, `mistral:clinical-mini`."""

    text: str
    system: str
    scheme: str | None
    model: str | None

    def load(self) -> Recognizer:
        """Return the system, ready to work."""
        from clinical.tasks.ner import load_recognizer

        return load_recognizer(self.system, self.model, scheme=self.scheme)


def parse_system(text: str, scheme: str | None = None) -> SystemSpec:
    """Return what `system[@scheme][:model]` names; `scheme` is for systems that follow one and name none."""
    match = SYSTEM_SPEC.fullmatch(text.strip())
    if not match:
        raise UsageError(f"--systems: {text!r} is not system[@scheme][:model], e.g. light@bc5cdr")
    default = None if match["system"] == "mistral" else scheme
    return SystemSpec(text.strip(), match["system"], match["scheme"] or default, match["model"])


def parse_count_as(pairs: Sequence[str]) -> dict[str, str]:
    """Return the map of `A=B` pairs, with labels as the label set writes them."""
    from clinical.prompts.labels import by_name

    merged = {}
    for pair in pairs:
        label, equals, other = pair.partition("=")
        if not equals:
            raise UsageError(f"--count-as {pair}: write Symptom=Disease")
        (first,), (second,) = by_name([label]), by_name([other])
        merged[first.name] = second.name
    return merged


def _labels_of(golds: Sequence[Gold], names: str | None, file: Path | None) -> tuple[Label, ...]:
    """Return the labels to ask for: those named, else those of the gold standards that the label set has."""
    from clinical.prompts.labels import by_name, clinical_labels, from_file

    known = from_file(file) if file else clinical_labels()
    if names:
        return by_name(names.split(","), known)
    present = {label for gold in golds for label in gold.labels}
    return tuple(label for label in known if label.name in present)


def _evaluate(
    gold: Gold,
    asked: Sequence[Label],
    loaded: Sequence[tuple[SystemSpec, Recognizer]],
    count_as: Mapping[str, str],
) -> Evaluation:
    from clinical.scoring.evaluation import Evaluation

    in_gold = [label for label in asked if label.name in gold.labels]
    unknown = {spec.text: unknown_labels(recognizer, in_gold) for spec, recognizer in loaded}
    scored = [label for label in in_gold if all(label not in labels for labels in unknown.values())]
    names = tuple(label.name for label in scored)
    remarks = [*_not_scored(gold, in_gold, unknown)]
    if not scored:
        raise UsageError(f"{gold.name}: no label to score. {' '.join(remarks)}")
    # Where the gold standard keeps both labels apart, so does the score.
    merged = {one: other for one, other in count_as.items() if one not in gold.labels and other in names}
    remarks += [f"{one} counts as {other}." for one, other in merged.items()]
    measurements = _measure_all(gold, scored, loaded, merged)
    return Evaluation(gold, names, measurements, tuple(remarks))


def unknown_labels(recognizer: Recognizer, labels: Sequence[Label]) -> list[Label]:
    """Return the labels that the recognizer refuses to look for."""
    return [label for label in labels if not _accepts(recognizer, label)]


def _accepts(recognizer: Recognizer, label: Label) -> bool:
    try:
        recognizer.recognize([], [label])
    except UsageError:
        return False
    return True


def _not_scored(
    gold: Gold, in_gold: Sequence[Label], unknown: Mapping[str, Sequence[Label]]
) -> Iterator[str]:
    """Yield a sentence for each reason why something of the gold standard is left out."""
    asked = {label.name for label in in_gold}
    not_asked = [label for label in gold.labels if label not in asked]
    if not_asked:
        yield f"Not asked for: {', '.join(not_asked)}."
    for system, labels in unknown.items():
        if labels:
            yield f"Not scored, since {system} does not know it: {', '.join(label.name for label in labels)}."
    if gold.dropped:
        yield f"Without counterpart in the label set: {', '.join(gold.dropped)}."


def _measure_all(
    gold: Gold,
    scored: Sequence[Label],
    loaded: Sequence[tuple[SystemSpec, Recognizer]],
    merged: Mapping[str, str],
) -> tuple[Measurement, ...]:
    from clinical.batch.progress import Tally, progress
    from clinical.prompts.labels import by_name
    from clinical.scoring.evaluation import measure

    names = [label.name for label in scored]
    tally = Tally()
    measurements = []
    with progress(len(gold.documents) * len(loaded)) as bar:

        def done(texts: int) -> None:
            tally.done += texts
            bar.update(tally)

        for spec, recognizer in loaded:
            more = [label for label in by_name(list(merged)) if _accepts(recognizer, label)]
            recognize = partial(recognizer.recognize, labels=[*scored, *more])
            measurements.append(
                measure(spec.text, recognizer.model, recognize, gold, names, count_as=merged, done=done)
            )
    return tuple(measurements)
