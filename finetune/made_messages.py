"""Made-up messages around the questions of MedQuAD: somebody tells a story, and asks in passing.

    message(record, random.Random(1))
    "Hi there! I am very worried. My father may have gout. Pls advise, is there a cure for it Thanks, [NAME]"

What a message asks is known, since it was made from the question; what stands around it says nothing. All of its
sentences are ours.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

ASKED = {
    "information": (
        "what is {x}?",
        "what exactly is {x}",
        "can you tell me about {x}",
        "i need information on {x}",
        "please send me information about {x}",
        "where can i read about {x}",
        "does anyone know what {x} means",
        "i would like to learn more about {x}",
    ),
    "symptoms": (
        "what are the symptoms of {x}?",
        "how do i know if i have {x}",
        "what are the signs of {x}",
        "could this be {x}?",
        "how does {x} feel",
        "can {x} make me feel like this",
        "what does {x} look like",
    ),
    "treatment": (
        "how is {x} treated?",
        "what can be done for {x}",
        "is there any treatment for {x}",
        "is there a cure for {x}?",
        "what medicine helps with {x}",
        "how can i get rid of {x}",
        "what are the options for {x}",
        "are there new treatments for {x}",
        "is there help for somebody with {x}",
        "can surgery help {x}?",
    ),
    "inheritance": (
        "is {x} inherited?",
        "can my children get {x} from me",
        "does {x} run in families",
        "is {x} genetic?",
        "what is the chance that my baby has {x}",
        "is {x} passed on from the mother or the father",
    ),
    "frequency": (
        "how common is {x}?",
        "how many people have {x}",
        "is {x} rare?",
        "how rare is {x}",
    ),
    "genetic changes": (
        "which gene causes {x}?",
        "what genes are involved in {x}",
        "what mutation is behind {x}",
        "is there a gene test for {x}",
        "what chromosome is {x} on",
    ),
    "causes": (
        "what causes {x}?",
        "why do people get {x}",
        "where does {x} come from",
        "what can lead to {x}",
        "how did i get {x}",
        "what is the reason for {x}",
    ),
    "exams and tests": (
        "how is {x} diagnosed?",
        "is there a test for {x}",
        "which test shows {x}",
        "where can i get tested for {x}",
        "what tests should i have for {x}",
        "can a blood test find {x}?",
    ),
    "research": (
        "is there any research on {x}?",
        "are there clinical trials for {x}",
        "how can i take part in a study of {x}",
        "what is new in research on {x}",
    ),
    "outlook": (
        "what is the outlook for {x}?",
        "what is the life expectancy with {x}",
        "will {x} get better",
        "can you live long with {x}",
        "what happens to people with {x} in the long run",
        "does {x} get worse?",
        "is {x} fatal",
    ),
    "susceptibility": (
        "who gets {x}?",
        "who is at risk for {x}",
        "am i at risk of {x}",
        "does age matter for {x}",
    ),
    "considerations": (
        "what should i do about {x}?",
        "what should i eat with {x}",
        "how do i live with {x}",
        "how can i help my mother with {x}",
        "what diet is good for {x}",
        "any advice for {x}?",
    ),
    "prevention": (
        "how can i prevent {x}?",
        "how do i avoid {x}",
        "can {x} be prevented",
        "how do i keep {x} from coming back",
        "is {x} contagious? how do i protect myself",
    ),
    "stages": (
        "what are the stages of {x}?",
        "what does stage 2 mean in {x}",
        "how far can {x} spread",
    ),
    "complications": (
        "what are the complications of {x}?",
        "what problems can {x} lead to",
        "what happens if {x} is not treated",
        "can {x} be dangerous",
    ),
}
"""By the type of a question in MedQuAD how people ask it."""

GREETINGS = (
    "Hi,",
    "Hello.",
    "Dear sir or madam,",
    "Good morning,",
    "Hi there!",
    "To whom it may concern:",
    "Dear doctor,",
    "Hello, my name is [NAME].",
    "Greetings.",
)

PEOPLE = (
    "I",
    "My mother",
    "My father",
    "My husband",
    "My wife",
    "My son",
    "My 4 year old daughter",
    "A friend of mine",
    "My brother",
    "My grandmother",
    "My sister",
)

TOLD = (
    "{w} was told about {x} last week.",
    "{w} may have {x}.",
    "{w} was diagnosed with {x} in 2009.",
    "The doctor says {w} has {x}.",
    "We just found out that {w} has {x}.",
    "{w} has been suffering from {x} for years.",
    "It started with {x}.",
    "They think it is {x}.",
)

STORIES = (
    "I am a 45 year old woman.",
    "I am 67, male, 80 kg and take no medication.",
    "We live in a small town and there is no specialist here.",
    "The doctors here do not know what to do.",
    "I have searched the internet but found nothing that I could understand.",
    "It has been going on for about six months.",
    "I have seen three doctors already and each one tells me something else.",
    "I am very worried.",
    "It is hard to sleep at night because of this.",
    "I work in an office and sit all day.",
    "Blood pressure is 130/80 and everything else is normal.",
    "I had an operation two years ago.",
    "He takes metformin and lisinopril.",
    "She is in the hospital now.",
    "I don't have insurance so I can't just go and ask.",
    "We are desperate.",
    "I am a nursing student.",
    "I am writing a paper for school.",
    "My appointment is only next month.",
    "I have two kids and a full time job.",
    "At first they said it was stress.",
    "My blood tests came back fine.",
    "I quit smoking ten years ago.",
    "I found your web site today.",
    "It hurts more in the morning.",
    "Last year I had pneumonia.",
    "My family does not believe me.",
    "I used to be very active and play tennis.",
    "The pain comes and goes.",
    "I am from India and I am 28 years old.",
    "Nobody in my family has had it.",
    "I was given some pills but they did not help.",
)

LEADS = (
    "I would like to know",
    "Please tell me",
    "Could you please tell me",
    "My question is",
    "I was wondering",
    "Can you help me:",
    "I want to ask",
    "Pls advise,",
    "I need to know",
    "",
    "",
    " ",
    "",
)

FAREWELLS = (
    "Thank you.",
    "Thanks in advance.",
    "Thank you for your help!",
    "Please reply soon.",
    "Any help is appreciated.",
    "Thanks, [NAME]",
    "God bless.",
    "Please email me at [CONTACT].",
    "Regards, [NAME]",
    "I appreciate your time.",
)

SUBJECTS = (
    "{x}",
    "question about {x}",
    "help",
    "{x} question",
    "Information",
    "medical question",
    "Need advice",
    "{x}",
    "{x}",
    "general health",
    "",
)

THIS = ("it", "this", "that", "this condition", "this disease")


def message(record: Mapping[str, Any], rng: random.Random) -> str:
    """Return a message that asks the question of a record of MedQuAD; its type is one of `ASKED`."""
    name = _name(record, rng)
    meant = name if rng.random() < 0.5 else rng.choice(THIS)
    parts = [rng.choice(GREETINGS)] if rng.random() < 0.5 else []
    stories = rng.sample(STORIES, rng.choice((0, 1, 1, 2, 3, 4, 5)))
    told = rng.random() < 0.7
    cut = rng.randint(0, len(stories))
    parts += stories[:cut]
    if told:
        parts.append(rng.choice(TOLD).format(w=rng.choice(PEOPLE), x=name))
    parts += stories[cut:]
    asked = rng.choice(ASKED[record["question_type"]]).format(x=meant if told else name)
    parts.append(f"{rng.choice(LEADS)} {asked}".strip())
    if told and stories and rng.random() < 0.15:
        parts.insert(0, parts.pop())
    if rng.random() < 0.5:
        parts.append(rng.choice(FAREWELLS))
    subject = rng.choice(SUBJECTS).format(x=name) if rng.random() < 0.5 else ""
    text = _misspelt(" ".join(parts), rng.choice((0, 0, 0, 0.05, 0.1)), rng)
    text = text.lower() if rng.random() < 0.3 else text
    return f"{subject}\n{text}" if subject else text


def _name(record: Mapping[str, Any], rng: random.Random) -> str:
    """Return what the question is about, sometimes by another of its names, mostly in small letters."""
    others = [other for other in record["synonyms"] if 3 < len(other) < 50 and "," not in other]
    name: str = rng.choice([record["focus"], *others]) if rng.random() < 0.4 else record["focus"]
    name = re.sub(r"\s*\(.*?\)", "", name).strip() or record["focus"]
    return name.lower() if rng.random() < 0.7 and not name.isupper() else name


def _misspelt(text: str, share: float, rng: random.Random) -> str:
    """Return the text with a letter left out, doubled or changed with its neighbour in that share of the words."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) > 4 and word.isalpha() and rng.random() < share:
            at = rng.randrange(1, len(word) - 1)
            letters = rng.choice(("", word[at + 1] + word[at], 2 * word[at]))
            kept = at + 1 + (len(letters) == 2 and letters[0] != letters[1])
            words[place] = word[:at] + letters + word[kept:]
    return " ".join(words)
