"""Training of the small Mistral: the network, its losses, and pieces that add up to one run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinical.finetune.exercises import Exercises, Mixture, collate, row
from clinical.finetune.packed import Packed
from clinical.finetune.packing import Marked, Packer
from clinical.finetune.tokenizer import CONTROL_TOKENS, train_tokenizer
from clinical.models.chat import V3
from clinical.models.text_tokens import TextTokens
from clinical.prompts.labels import clinical_labels

NOTES = [
    ("No fever. Given aspirin 81mg daily.", [(3, 8, "Symptom"), (16, 23, "Medication"), (24, 28, "Dosage")]),
    ("Asthma since 1990.\nOn salbutamol.", [(0, 6, "Disease"), (22, 32, "Medication")]),
]
RECORD = {
    "step": "training",
    "command": "python -m x",
    "commit": "abc",
    "date": "2026-11-21",
    "recipe": {"seed": 7},
    "corpora": [],
}
LABELS = ["Disease", "Dosage", "Medication", "Symptom"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as `prepare` writes."""
    from clinical.documents.sentences import split_sentences

    folder = tmp_path_factory.mktemp("data")
    texts = [text for text, _ in NOTES]
    tokenizer = train_tokenizer(texts * 3, [label.name for label in clinical_labels()], 420)
    tokenizer.save_pretrained(folder)
    tokens = TextTokens(tokenizer, V3)
    packer = Packer(tokens)
    for text, spans in NOTES:
        packer.add(Marked(text, list(split_sentences(text)), {"maccrobat": spans}))
    control = {name: tokens.control(name) for name in CONTROL_TOKENS} | {"newline": tokens.piece("\n")[0]}
    packed = packer.pack(control, {"maccrobat": LABELS})
    packed.add_task_rows([("ask", conversation(packed, 11, 12)), ("search", conversation(packed, 30))])
    packed.add_held_out(tokens, ["Fever and asthma.", "On aspirin."])
    packed.save(folder / "data.safetensors")
    return folder


def conversation(packed: Packed, *answers: int) -> list[int]:
    """Questions of one token, 9, each with its answer of one token."""
    control = packed.control
    turns = [[control["[INST]"], 9, control["[/INST]"], answer, control["</s>"]] for answer in answers]
    return [control["<s>"], *(token for turn in turns for token in turn)]


@pytest.fixture
def tokens(data: Path) -> TextTokens:
    from clinical.models.mistral import load_tokenizer

    return TextTokens(load_tokenizer(data), V3)


@pytest.fixture
def packed(data: Path) -> Packed:
    return Packed.open(data / "data.safetensors")


def trainer_of(packed: Packed, plan: Any = None) -> Any:
    from clinical.finetune.sizes import SIZES
    from clinical.finetune.small_plan import Plan
    from clinical.finetune.small_trainer import Trainer

    return Trainer(plan or Plan(tokens=64 * 200, batch_tokens=200), SIZES["toy"], packed, "cpu", False, False)


def test_the_network_is_a_mistral(packed: Packed) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from clinical.finetune.network import Network
    from clinical.finetune.sizes import SIZES, size_of

    network = Network(SIZES["toy"], seed=3)
    for parameter in network.parameters():  # zeros would hide what they multiply
        torch.nn.init.normal_(parameter, std=0.3)
    config = MistralConfig(**SIZES["toy"].config(packed.control))
    assert size_of(config.to_dict()) == SIZES["toy"]
    model = MistralForCausalLM(config)
    model.load_state_dict({**network.state_dict(), "lm_head.weight": network.embedding})
    ids = torch.randint(0, 600, (3, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(ids) @ network.embedding.T, model(ids).logits, atol=1e-5)


def test_the_loss_is_that_of_fine_tuning(packed: Packed) -> None:
    """The decisions of `clinical.finetune.mistral_ner`, computed another way."""
    import torch

    from clinical.finetune.mistral_ner import decision_loss
    from clinical.finetune.mistral_rows import Row

    trainer = trainer_of(packed)
    for parameter in trainer.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    asked = [packed.labels.index(name) for name in LABELS]
    layer = packed.layers["maccrobat"]
    rows = [
        row(packed, packed.exercise(layer, [int(number)], frozenset(asked)), asked)
        for number in layer.sentences
    ]

    def as_fine_tuned(one: Any) -> Row:
        ((answer, _),) = one.answers
        options = [[token] for token in one.ids[answer:]]
        for decision in one.decisions:
            tags = (
                [packed.opening[a] for a in asked] if decision.state < 0 else [packed.closing[decision.state]]
            )
            options[decision.place - answer] = [decision.copy, *tags]
        return Row(one.ids, answer, options)

    class Model:
        def get_decoder(self) -> Any:
            class Out:
                def __init__(self, states: Any) -> None:
                    self.last_hidden_state = states

            return lambda input_ids: Out(trainer.network(input_ids))

        def get_output_embeddings(self) -> Any:
            return lambda states: states @ trainer.network.embedding.T

    expected = decision_loss(Model(), [as_fine_tuned(one) for one in rows], 0.0)
    assert trainer.losses(collate(packed, "ner", rows))["ner"].item() == pytest.approx(
        expected.item(), rel=1e-4
    )


def test_each_decision_has_its_options(packed: Packed) -> None:
    trainer = trainer_of(packed)
    asked = [packed.labels.index(name) for name in ("Symptom", "Disease")]
    layer = packed.layers["maccrobat"]
    rows = [
        row(packed, packed.exercise(layer, [int(number)], frozenset(asked)), asked)
        for number in layer.sentences
    ]
    batch = collate(packed, "ner", rows)
    tags = [*packed.opening, *packed.closing]
    offered = [
        {tags[column - 1] for column in np.flatnonzero(options) if column}
        for options in trainer.options(batch).numpy()
    ]
    assert offered == [
        {packed.opening[label] for label in asked} if decision.state < 0 else {packed.closing[decision.state]}
        for one in rows
        for decision in one.decisions
    ]


def test_pieces_add_up_to_the_run_bit_for_bit(data: Path, packed: Packed, tmp_path: Path) -> None:
    import torch

    from clinical.finetune.small_plan import Plan
    from clinical.finetune.small_training import CHECKPOINT, batches_of, train

    torch.set_num_threads(1)
    plan = Plan(
        tokens=32 * 200, batch_tokens=200, text_until=0.4, text_before=0.6, text_length=16, dropout=0.1
    )
    assert plan.steps == 32

    whole = trainer_of(packed, plan)
    (tmp_path / "whole").mkdir()
    assert train(whole, batches_of(data, packed, plan, 0, 0), tmp_path / "whole", None)

    out = tmp_path / "pieces"
    out.mkdir()
    first = trainer_of(packed, plan)
    stream = batches_of(data, packed, plan, 0, 0)
    for _ in range(5):
        first.learn(next(stream))
    assert not train(first, stream, out, minutes=0.0)
    assert first.step == 6
    second = trainer_of(packed, plan)
    second.load(out / CHECKPOINT)
    assert not train(second, batches_of(data, packed, plan, second.step, 0), out, None, until=9)
    assert second.step == 9
    third = trainer_of(packed, plan)
    third.load(out / CHECKPOINT)
    assert train(third, batches_of(data, packed, plan, third.step, 0), out, None)

    for one, other in zip(whole.network.parameters(), third.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(one, other) for one, other in zip(whole._average, third._average, strict=True))
    last = json.loads((out / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["step"] == last["steps"] == 32


def test_other_processes_make_the_same_batches(data: Path, packed: Packed) -> None:
    from clinical.finetune.small_plan import Plan
    from clinical.finetune.small_training import batches_of

    plan = Plan(tokens=32 * 200, batch_tokens=200, text_length=16)
    here = [batch.ids.tolist() for batch in batches_of(data, packed, plan, 3, 0)]
    elsewhere = [batch.ids.tolist() for batch in batches_of(data, packed, plan, 3, 1)]
    assert len(here) == 29
    assert here == elsewhere


def test_training_learns_the_notes_by_heart(data: Path, packed: Packed, tmp_path: Path) -> None:
    import torch

    from clinical.finetune.small_plan import Plan
    from clinical.finetune.small_training import batches_of, train, write_model
    from clinical.models.mistral_tagger import MistralTagger
    from clinical.prompts.labels import by_name

    torch.set_num_threads(1)
    plan = Plan(
        tokens=96 * 700,
        batch_tokens=700,
        text_before=0,
        text_after=0,
        tasks=0,
        average=0.9,
        muon_lr=0.03,
        adam_lr=6e-3,
    )
    trainer = trainer_of(packed, plan)
    assert train(trainer, batches_of(data, packed, plan, 0, 0), tmp_path, None)
    write_model(trainer, data, tmp_path / "model", [RECORD])
    tagger = MistralTagger.load(str(tmp_path / "model"))
    assert (tagger.template.name, tagger.chunk_pieces) == ("ner.short.v1", 96)
    found = tagger.tag([text for text, _ in NOTES], by_name(LABELS))
    assert [[(e.start, e.end, e.label) for e in one] for one in found] == [spans for _, spans in NOTES]


def test_bits_per_byte_of_a_model_that_knows_nothing(packed: Packed) -> None:
    import torch

    trainer = trainer_of(packed)
    with torch.no_grad():
        trainer.network.embedding.zero_()
    trainer._average = [p.detach().clone() for p in trainer.network.parameters()]
    count = len(packed.arrays["held_out"])
    assert packed.header["held_out_bytes"] == len("Fever and asthma.On aspirin.")
    expected = (count - 1) * math.log2(600) / packed.header["held_out_bytes"]
    assert trainer.bits_per_byte(length=5, rows=2) == pytest.approx(expected, rel=1e-5)


def test_held_out_mentions_count_when_all_their_decisions_are_right(tokens: TextTokens) -> None:
    import torch

    from clinical.finetune.exercises import held_out
    from clinical.finetune.small_trainer import mentions

    packer = Packer(tokens)
    packer.add(Marked(NOTES[0][0], [(0, 9), (10, 35)], {"held_out.maccrobat": NOTES[0][1]}))
    control = {name: tokens.control(name) for name in CONTROL_TOKENS} | {"newline": tokens.piece("\n")[0]}
    packed = packer.pack(control, {"held_out.maccrobat": LABELS})
    ((name, batch),) = held_out(packed, 1000)
    assert name == "maccrobat"
    # Nothing of it is ever trained on.
    assert (
        Exercises(packed, 100, 0, [])._ner(0, Mixture({"held_out.maccrobat": 1.0}), np.random.default_rng())
        == []
    )
    right = np.zeros(len(batch.states), np.int64)
    right[batch.wanted_at[batch.wanted == 1, 0]] = batch.wanted_at[batch.wanted == 1, 1]
    assert mentions(batch, right).tolist() == [3, 3, 3]
    assert mentions(batch, np.zeros_like(right)).tolist() == [0, 0, 3]
    wrong_end = right.copy()
    (ends,) = np.nonzero((batch.states >= 0) & (right > 0))
    wrong_end[ends[0]] = 0
    assert mentions(batch, wrong_end).tolist() == [2, 3, 3]
    one_too_many = right.copy()
    one_too_many[np.flatnonzero((batch.states < 0) & (right == 0))[0]] = 1 + packed.labels.index("Disease")
    assert mentions(batch, one_too_many).tolist() == [3, 4, 3]

    trainer = trainer_of(packed)
    with torch.no_grad():
        trainer.network.embedding.zero_()  # all options are equal, and the first is to go on
    trainer._average = [p.detach().clone() for p in trainer.network.parameters()]
    assert trainer.held_out_f1() == {"maccrobat": 0.0}


def test_what_is_held_out_is_not_trained_on(tokens: TextTokens) -> None:
    packer = Packer(tokens)
    packer.add(Marked(NOTES[0][0], [(0, 9), (10, 35)], {"held_out.maccrobat": NOTES[0][1]}, twin=True))
    packer.add(Marked(NOTES[1][0], [(0, 18), (19, 33)], {"maccrobat": NOTES[1][1]}))
    control = {name: tokens.control(name) for name in CONTROL_TOKENS} | {"newline": tokens.piece("\n")[0]}
    packed = packer.pack(control, dict.fromkeys(packer.layer_words, LABELS))
    mixture = Mixture({"held_out.maccrobat": 0.9, "maccrobat": 0.1}, text=0.5, text_length=8)
    kept = set(tokens.note(NOTES[0][0], " ")) - set(tokens.note(NOTES[1][0], " "))
    assert kept
    for batch in Exercises(packed, 100, 0, [(2.0, mixture)]).pool(0, 1):
        assert not kept & set(batch.ids.flatten().tolist())


WITHOUT = """
import sys

sys.modules.update(dict.fromkeys({missing}))  # as if they were not installed
sys.argv = ["small_training.py", *{arguments}]
from clinical.finetune import small_training
small_training.main()
"""


def test_training_needs_little_more_than_torch(data: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    missing = ["bitsandbytes", "click", "onnxruntime", "peft", "sentence_transformers", "spacy", "trl"]
    arguments = ["--data", str(data), "--out", str(tmp_path / "run"), "--size", "toy", "--tokens", "3200"]
    arguments += ["--set", "batch_tokens=200", "text_length=16"]
    code = WITHOUT.format(missing=missing, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "complete"
    assert (tmp_path / "run/model/model.safetensors").is_file()


def test_embeddings_can_begin_with_meanings() -> None:
    import torch

    from clinical.finetune.network import Network
    from clinical.finetune.sizes import SIZES
    from clinical.finetune.small_trainer import take_meanings

    network = Network(SIZES["toy"], seed=0)
    before = network.embedding.detach().clone()
    vectors = torch.zeros(600, 30)
    vectors[100:200] = torch.randn(100, 30, generator=torch.Generator().manual_seed(0))
    vectors[101] = vectors[100]
    take_meanings(network, vectors.half())
    after = network.embedding.detach()
    assert torch.equal(after[:100], before[:100])
    assert torch.equal(after[100:200, 30:], before[100:200, 30:])
    assert torch.equal(after[100, :30], after[101, :30])
    assert after[100:200, :30].std().item() == pytest.approx(before.std().item(), rel=0.01)
    # Turning and shrinking leaves the distances between meanings in proportion.
    distances = torch.cdist(vectors[100:110].half().float(), vectors[110:120].half().float())
    proportion = torch.cdist(after[100:110, :30], after[110:120, :30]) / distances
    assert proportion.max().item() == pytest.approx(proportion.min().item(), rel=1e-3)


def test_rows_of_other_tasks_come_as_they_were_put_in(packed: Packed) -> None:
    asked, searched = conversation(packed, 11, 12), conversation(packed, 30)
    assert list(packed.task_rows()) == [("ask", asked), ("search", searched)]
    assert packed.answers(asked) == [(4, 6), (9, 11)]
    made = Exercises(packed, 24, 0, [(2.0, Mixture({"maccrobat": 1.0}, tasks=1.0))]).pool(0, 1)
    assert {batch.kind for batch in made} == {"task"}
    learned = {token for batch in made for token in batch.ids.flatten()[batch.predict].tolist()}
    assert learned == {11, 12, 30, packed.control["</s>"]}


def test_the_rate_warms_up_stays_and_falls() -> None:
    from clinical.finetune.small_plan import Plan

    plan = Plan(tokens=16 * 100 * 10, batch_tokens=10, warmup=0.01, decay=0.5)
    rates = [plan.rate(step) for step in range(plan.steps)]
    assert plan.steps == 1600
    assert rates[0] == pytest.approx(1 / 16)
    assert rates[16] == rates[799] == 1.0
    assert rates[1200] == pytest.approx(0.5)
    assert np.all(np.diff(rates[16:]) <= 0)
    assert rates[-1] == plan.last_rate


def test_a_setting_that_is_none_is_named() -> None:
    from clinical.finetune.small_plan import Plan, changed

    made = changed(Plan(), ["muon_lr=0.01", "layers.notes=0.5", "tokens=5e6"], ["notes"])
    assert (made.muon_lr, made.layers["notes"], made.tokens) == (0.01, 0.5, 5_000_000)
    with pytest.raises(ValueError, match=r"no setting 'muon'; there are: tokens, .*, layers\.NAME"):
        changed(Plan(), ["muon=1"], [])
    with pytest.raises(ValueError, match="no layer 'notse' in the data; there are: bc5cdr, notes"):
        changed(Plan(), ["layers.notse=1"], ["bc5cdr", "notes"])
    with pytest.raises(ValueError, match="muon_lr=fast: a setting is NAME=NUMBER"):
        changed(Plan(), ["muon_lr=fast"], [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--data", "nowhere"],
            "nowhere has no data.safetensors; `clinical finetune pretrain prepare` makes it",
        ),
        (["--data", "DATA", "--start", "nowhere"], "nowhere has no model.safetensors to begin with"),
        (["--data", "DATA", "--set", "muon=1"], "no setting 'muon'"),
        (
            ["--data", "DATA", "--set", "adapter_rank=8"],
            "an adapter wants the model that it is trained on: --start",
        ),
        (["--data", "DATA", "--out", "BEGUN"], "--resume goes on with it, another --out begins anew"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import sys

    from clinical.finetune import small_training

    (tmp_path / small_training.CHECKPOINT).touch()
    places = {"DATA": str(data), "BEGUN": str(tmp_path)}
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "new")]
    called = ["small_training.py", *(places.get(one, one) for one in arguments), *out]
    monkeypatch.setattr(sys, "argv", called)
    with pytest.raises(SystemExit) as ended:
        small_training.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_from_texts_to_a_release_in_pieces_or_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of `clinical.finetune.pretrain`, at the scale of a toy."""
    import sys

    import torch
    from safetensors.torch import load_file

    from clinical.documents.sentences import split_sentences
    from clinical.finetune import mistral_release, packing, small_training, suite_rows
    from clinical.models.mistral_tagger import MistralTagger

    def texts(silver: Path, seed: int) -> list[Marked]:
        return [Marked(text, list(split_sentences(text)), {"maccrobat": spans}) for text, spans in NOTES]

    def asked(writer: Any) -> list[int]:
        begin, ask, answer, end = map(writer.tokens.control, ("<s>", "[INST]", "[/INST]", "</s>"))
        return [begin, ask, 9, answer, 11, end]

    monkeypatch.setattr(packing, "all_texts", texts)
    monkeypatch.setattr(packing, "held_out_texts", lambda: ["Fever and asthma."])
    monkeypatch.setattr(packing, "meanings", lambda tokenizer: np.zeros((len(tokenizer), 5), np.int8))
    monkeypatch.setattr(suite_rows, "rows", lambda writer, seed: [("ask", asked(writer))])
    made = packing.run(tmp_path, tmp_path / "data", None, 420, 0)
    assert list(made.task_rows()) == [("ask", conversation(made, 11))]

    def trained(out: str, *arguments: str) -> dict[str, Any]:
        called = [
            "small_training.py",
            "--data",
            str(tmp_path / "data"),
            "--out",
            str(tmp_path / out),
            *arguments,
        ]
        monkeypatch.setattr(sys, "argv", called)
        small_training.main()
        return load_file(tmp_path / out / "model/model.safetensors")

    run = ("--size", "toy", "--tokens", "6400", "--set", "batch_tokens=200", "text_length=16", "dropout=0.1")
    at_once = trained("whole", *run)
    first = trained("pieces", *run, "--minutes", "0")
    in_pieces = trained("pieces", "--resume", "--send", str(tmp_path / "sent"))
    assert all(torch.equal(at_once[name], weight) for name, weight in in_pieces.items())
    assert not all(torch.equal(first[name], weight) for name, weight in in_pieces.items())

    assert {path.name for path in (tmp_path / "sent").iterdir()} == {
        "model.safetensors",
        "config.json",
        "clinical.json",
        "history.json",
    }
    mistral_release.run(tmp_path / "sent", None, tmp_path / "release", [], tmp_path / "data")
    tagger = MistralTagger.load(str(tmp_path / "release"))
    assert tagger.template.name == "ner.short.v1"
    card = (tmp_path / "release/README.md").read_text(encoding="utf-8")
    assert "| data: gold, silver by light, made-up notes |" in card
    assert (
        "| training | `python -m clinical.finetune.small_training --data build/data --out build/pieces"
        in card
    )
    assert "adapter" not in card.split("|")[0]
    assert str(tmp_path) not in card


def test_an_adapter_is_trained_and_not_the_model(
    data: Path, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun, killed and gone on with, it is read by peft and computes what was trained."""
    import sys

    import torch

    from clinical.finetune import small_training
    from clinical.finetune.small_plan import Plan
    from clinical.finetune.small_training import write_model
    from clinical.models import mistral

    write_model(trainer_of(packed), data, tmp_path / "base", [RECORD])
    begun = [
        "small_training.py",
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--start",
        str(tmp_path / "base"),
    ]
    settings = [
        "--tokens",
        "12800",
        "--set",
        "batch_tokens=200",
        "text_before=0",
        "text_after=0",
        "adapter_rank=4",
        "average=0",
    ]
    for arguments in ([*begun, *settings, "--until", "20"], [*begun, "--resume"]):
        monkeypatch.setattr(sys, "argv", arguments)
        small_training.main()
    base = mistral.load(str(tmp_path / "base")).model
    adapted = mistral.load(str(tmp_path / "base"), str(tmp_path / "adapter")).model
    held = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    trainer = trainer_of(packed, Plan(**held["plan"]))
    trainer.load(tmp_path / small_training.CHECKPOINT)
    assert (trainer.step, trainer.plan.steps) == (64, 64)
    ids = torch.arange(2, 60)[None]
    with torch.no_grad():
        states = trainer.network.eval()(ids)
        assert torch.allclose(states @ trainer.network.embedding.T, adapted(ids).logits, atol=0.02)
        assert (adapted(ids).logits - base(ids).logits).abs().max() > 0.2
    steps = json.loads((tmp_path / "adapter/history.json").read_text(encoding="utf-8"))
    assert [step["step"] for step in steps] == ["training", "training"]
    assert steps[1]["recipe"]["adapter_rank"] == 4

    further = trainer_of(packed, Plan(**held["plan"]))
    further.start_from(tmp_path / "base")
    further.go_on_from(tmp_path / "adapter")
    with torch.no_grad():
        assert torch.allclose(further.network.eval()(ids), states, atol=0.02)


def test_drills_come_first_and_a_tenth_of_them_later() -> None:
    from clinical.finetune.small_plan import Plan

    plan = Plan(text_until=0.2, text_before=0.7, text_after=0.1, tasks=0.5, drills_until=0.4)
    stages = plan.stages(["ask", "drill"])
    assert [(until, mix.text, mix.tasks, mix.drills) for until, mix in stages] == [
        (0.2, 0.7, 0.0, 0.05),
        (0.4, 0.1, 0.0, 0.5),
        (1.0, 0.1, 0.45, 0.05),
    ]
    assert [(mix.tasks, mix.drills) for _, mix in plan.stages(["ask"])] == [(0.05, 0), (0.5, 0), (0.5, 0)]
    assert {(mix.tasks, mix.drills) for _, mix in plan.stages([])} == {(0, 0)}


def test_drills_are_batches_of_their_own(packed: Packed) -> None:
    packed.add_task_rows([("ask", conversation(packed, 11)), ("drill", conversation(packed, 30))])
    made = Exercises(packed, 24, 0, [(1.0, Mixture({"maccrobat": 1.0}, tasks=0.5, drills=0.5))]).pool(0, 1)
    learned = {(batch.kind, int(batch.ids.flatten()[batch.predict].max())) for batch in made}
    assert learned == {("task", 11), ("drill", 30)}
