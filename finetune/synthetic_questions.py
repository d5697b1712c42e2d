"""Made-up questions on made-up notes, for training: what a sentence answers is known because it was put there.

The corpora with questions are articles; nobody asks there why apixaban was stopped. A fact below is a block: the
heading it stands under, ways to write it (`+`, two sentences that answer together are parted by `||`) and ways to ask
for it (`?`). The blanks are filled alike in note and question. A note is some facts under their headings; each question
is about one of them, or about one that the note does not hold. Facts of one family (`@`) do not stand in one note, so
that no question has an answer that is not marked. No line is one of the tests' or the examples'.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

FACTS = """\
# Hospital course
@ anticoagulant
+ {Anticoagulant} was stopped because of {bleed}.
+ We discontinued {anticoagulant} after {bleed}.
+ {Anticoagulant} held on admission in view of {bleed}.
+ {Anticoagulant} was withdrawn. || The reason was {bleed}.
+ {Anticoagulant} d/c'd 2/2 {bleed}
+ She had {bleed} while on {anticoagulant}. || It was therefore stopped.
? Which anticoagulant was stopped, and why?
? Why was {anticoagulant} stopped?
? which blood thinner was discontinued and for what reason
? Is the patient still anticoagulated?
? reason for stopping {anticoagulant}

# Medications
@ anticoagulant
+ {Anticoagulant} {dose} {often}
+ {Anticoagulant} {dose} {often} for {clot}.
+ On {anticoagulant} since {year} for {clot}.
+ Anticoagulated with {anticoagulant}, indication {clot}.
? Which anticoagulant does the patient take?
? What is {anticoagulant} given for?
? dose of {anticoagulant}
? Is she on a blood thinner?
? How much {anticoagulant} does he take?

# Medications
@ bp
+ {Pressure} {dose} {often}
+ {Pressure} was increased to {dose} {often} for high blood pressure.
+ Takes {pressure} {dose} {often} for hypertension.
? What does the patient take for blood pressure?
? antihypertensive medication
? dose of {pressure}
? Which drug treats the hypertension?

# Plan
@ bp
+ Start {pressure} {dose} {often}.
+ Started on {pressure} for BP above target.
+ New today: {pressure} {dose}.
? Which new antihypertensive was started?
? What was started for the blood pressure?
? new medication

# Hospital course
@ bp
+ {Pressure} was stopped because of {sideeffect}.
+ {Pressure} caused {sideeffect} and was replaced by {pressure2}.
+ {Sideeffect} on {pressure}. || Switched to {pressure2}.
? Why was {pressure} stopped?
? Which drug caused {sideeffect}?
? What replaced {pressure}?
? side effect of {pressure}

# Medications
@ diabetesdrug
+ {Diabetesdrug} {dose} {often}
+ Diabetes is treated with {diabetesdrug} {dose}.
+ {Diabetesdrug} added because HbA1c was {percent}.
? What does the patient take for diabetes?
? Which glucose-lowering drug is used?
? diabetes treatment
? What is the dose of {diabetesdrug}?

# Laboratory data
@ hba1c
+ HbA1c {percent}
+ Hemoglobin A1c was {percent}, up from last year.
+ A1c {percent} in {month}.
? How well is the diabetes controlled?
? What was the last HbA1c?
? hemoglobin a1c
? When was the A1c measured?

# Hospital course
@ antibiotic
+ Treated with {antibiotic} for {days} days for {infection}.
+ {Antibiotic} was given for {infection}.
+ {Infection} was covered with {antibiotic}, stopped after {days} days.
+ For {infection} the patient received {antibiotic} {dose} i.v.
? Which antibiotic was given, and for what?
? How long was the patient treated with {antibiotic}?
? antibiotic treatment
? What was the {infection} treated with?

# Plan
@ antibiotic
+ Complete {days} days of {antibiotic}.
+ {Antibiotic} {dose} {often} until {date}.
+ Continue {antibiotic} through {date}.
? Until when should antibiotics be taken?
? How many days of {antibiotic}?
? When does {antibiotic} end?

# Allergies
@ allergy
+ {Allergen} ({reaction}).
+ {Allergen}: {reaction}
+ Allergic to {allergen}, which caused {reaction}.
+ {Reaction} after {allergen} as a child.
? Is the patient allergic to anything?
? allergies
? What happened when the patient took {allergen}?
? drug allergies and reactions
? Can the patient have {allergen}?

# Allergies
@ allergy
+ No known drug allergies.
+ NKDA
+ None known.
? Does the patient have any allergies?
? Any drug allergies?
? allergies

# History of present illness
@ complaint
+ Came with {duration} of {symptom}.
+ Presents with {symptom} for {duration}.
+ {Symptom} began {duration} ago and has got worse.
+ The patient noticed {symptom}. || It started {duration} ago.
? Why did the patient come?
? What brought her in?
? How long has the patient had {symptom}?
? presenting complaint
? When did the {symptom} start?

# History of present illness
@ denial
+ Denies {symptom3}, {symptom4} and {symptom5}.
+ No {symptom3}, no {symptom4}.
+ There was no {symptom3} or {symptom4}.
? Does the patient have {symptom3}?
? Any {symptom4}?
? Was there {symptom3}?
? {symptom3}

# History of present illness
@ trigger
+ It is worse {trigger} and better {relief}.
+ The pain comes on {trigger} and goes away {relief}.
+ Brought on {trigger}.
? What makes it worse?
? What relieves the pain?
? aggravating and relieving factors
? When does the pain come?

# Past medical history
@ past
+ {Disease}, diagnosed in {year}.
+ History of {disease} since {year}.
+ {Disease} ({year})
? When was {disease} diagnosed?
? Since when does the patient have {disease}?
? history of {disease}
? Does she have {disease}?

# Past medical history
@ nopast
+ No history of {disease3} or {disease4}.
+ Never had {disease3}.
+ Negative for {disease3}.
? Has the patient ever had {disease3}?
? Is there a history of {disease3}?
? {disease3} in the history

# Past surgical history
@ surgery
+ {Operation} in {year}.
+ s/p {operation} {year}
+ Underwent {operation} in {year} without complications.
+ {Operation} {year}, complicated by {complication}.
? What operations has the patient had?
? When was the {operation}?
? previous surgery
? Were there complications of the {operation}?

# Family history
@ family
+ {Relative} had {disease5} at {age}.
+ {Relative} died of {disease5}.
+ {Relative} with {disease5}, otherwise unremarkable.
? Does {disease5} run in the family?
? What did the {relative} have?
? family history
? Which relative had {disease5}?

# Family history
@ family
+ No family history of {disease5}.
+ Negative for {disease5} and stroke.
? Is there a family history of {disease5}?
? Do relatives have {disease5}?

# Social history
@ smoking
+ Smokes {number} cigarettes a day.
+ Former smoker, {number} pack-years, quit in {year}.
+ Never smoked.
+ Quit smoking {duration} ago after {number} pack-years.
? Does the patient smoke?
? smoking status
? How many pack-years?
? When did the patient quit smoking?
? tobacco use

# Social history
@ alcohol
+ Drinks {number} units of alcohol a week.
+ No alcohol.
+ Wine at weekends only.
+ Alcohol: {number} beers a day.
? How much does the patient drink?
? alcohol use
? Does he drink alcohol?

# Social history
@ living
+ Lives alone in a second-floor flat.
+ Lives with {relative2}.
+ Resident of a nursing home since {year}.
+ Moved in with {relative2} last year.
? Who does the patient live with?
? living situation
? Where does the patient live?

# Social history
@ job
+ Works as a {job}.
+ Retired {job}.
+ {Job} on sick leave.
? What does the patient do for a living?
? occupation
? What is the patient's job?

# Vital signs
@ vitals
+ BP {systolic}/{diastolic}, HR {pulse}, SpO2 {saturation}% on room air.
+ Blood pressure {systolic}/{diastolic} mmHg, pulse {pulse} regular.
+ T 38.{digit} C, BP {systolic}/{diastolic}, RR {number}.
? What was the blood pressure?
? vital signs
? How fast was the pulse?

# Vital signs
@ weight
+ Weight {kilos} kg.
+ Weighs {kilos} kg, {digit} kg more than at the last visit.
+ Lost {digit} kg since {month}.
? What does the patient weigh?
? Has the weight changed?
? weight

# Physical examination
@ exam
+ Lungs: {lungs}.
+ Chest: {lungs}.
+ {Lungs} on auscultation.
? What did the lungs sound like?
? lung exam
? Findings on auscultation of the chest

# Physical examination
@ legs
+ Legs: {edema}.
+ Extremities with {edema}.
+ {Edema}, no calf tenderness.
? Were the legs swollen?
? Is there edema?
? exam of the extremities

# Laboratory data
@ creatinine
+ Creatinine {creatinine} mg/dL (baseline {creatinine2}).
+ Cr {creatinine}, was {creatinine2} on admission.
+ Renal function: creatinine {creatinine}.
? How is the kidney function?
? What was the creatinine?
? Did the creatinine rise?
? renal function

# Laboratory data
@ hb
+ Hemoglobin fell from {hb} to {hb2} g/dL.
+ Hb {hb} g/dL, MCV low.
+ Hgb {hb}, transfused two units.
? What was the hemoglobin?
? Is the patient anemic?
? Was a transfusion needed?

# Laboratory data
@ potassium
+ Potassium {potassium} mmol/L.
+ K {potassium}, replaced by mouth.
+ Sodium 1{number} and potassium {potassium}.
? potassium level
? What was the potassium?
? Were the electrolytes abnormal?

# Laboratory data
@ troponin
+ Troponin negative twice.
+ Troponin peaked at {number} ng/mL.
+ hs-troponin not raised.
? Was the troponin raised?
? cardiac markers
? troponin

# Laboratory data
@ culture
+ Blood cultures grew {bug}.
+ Urine culture: {bug}, sensitive to {antibiotic2}.
+ Cultures stayed negative.
? What grew in the cultures?
? Which organism was found?
? culture results

# Imaging
@ imaging
+ CT of the {part} showed {finding}.
+ CT {part}: {finding}, no other abnormality.
+ MRI {part} with contrast: {finding}.
+ {Finding} on ultrasound of the {part}.
? What did the CT show?
? imaging findings
? What was seen in the {part}?
? result of the scan

# Imaging
@ chestfilm
+ Chest x-ray: {chestfilm}.
+ CXR with {chestfilm}.
+ The chest film showed {chestfilm}.
? What did the chest x-ray show?
? chest radiograph
? Was there anything on the chest film?

# Imaging
@ echo
+ Echocardiogram: ejection fraction {number}%, {valve}.
+ EF {number}% on echo in {month}.
+ Echo {year} with {valve}, EF {number}%.
? What is the ejection fraction?
? echocardiogram result
? How good is the pump function of the heart?
? Was there a valve problem?

# Results
@ ecg
+ ECG: {rhythm}.
+ EKG showed {rhythm}.
+ {Rhythm} on the monitor.
? What did the ECG show?
? heart rhythm
? ekg

# Pathology
@ biopsy
+ Biopsy of the {part}: {histology}.
+ Pathology showed {histology}.
+ {Histology}, margins free.
? What did the biopsy show?
? histology
? Was the tumor removed completely?
? pathology result

# Hospital course
@ procedure
+ {Procedure} on {date} without complications.
+ Underwent {procedure} on {date}.
+ {Procedure} was complicated by {complication}.
? Which procedure was done?
? When was the {procedure}?
? Were there complications?
? complications of the procedure

# Hospital course
@ cause
+ {Problem} was due to {reason}.
+ {Problem}, most likely caused by {reason}.
+ We think that {reason} led to {problem}.
+ {Problem} was attributed to {reason}.
? What caused {problem}?
? Why did the patient have {problem}?
? cause of {problem}

# Hospital course
@ ruledout
+ {Disease6} was ruled out by {test}.
+ {Test} excluded {disease6}.
+ No evidence of {disease6} on {test}.
? Was {disease6} found?
? Does the patient have {disease6}?
? How was {disease6} ruled out?

# Hospital course
@ responded
+ {Symptom6} improved after {treatment}.
+ Given {treatment}, with good effect on the {symptom6}.
+ {Treatment} did not help the {symptom6}.
? What helped against the {symptom6}?
? How was the {symptom6} treated?
? Did {treatment} help?

# Hospital course
@ fall
+ Fell in the bathroom on {date}, no head injury.
+ Had an unwitnessed fall on day {digit}.
+ No falls during the stay.
? Did the patient fall?
? falls
? When did the fall happen?

# Hospital course
@ icu
+ Transferred to intensive care on {date} for {reason}.
+ Needed {days} days in the ICU.
+ Intubated on {date} and extubated two days later.
? Was the patient in intensive care?
? When was the patient intubated?
? Why did she go to the ICU?

# Assessment
@ diagnosis
+ Most likely {disease7}.
+ Working diagnosis: {disease7}.
+ Findings fit {disease7}.
+ {Disease7}, newly diagnosed.
? What is the diagnosis?
? What does the doctor think it is?
? working diagnosis

# Assessment
@ differential
+ {Disease8} cannot be excluded.
+ {Disease8} is less likely.
+ DDx includes {disease8}.
? What else could it be?
? differential diagnosis
? Is {disease8} possible?

# Plan
@ followup
+ Follow-up with Dr. {name} in {duration}.
+ See {clinic} on {date}.
+ {Clinic} appointment in {duration} with repeat {lab}.
+ Return to {clinic} in {duration}.
? When is the next appointment?
? follow-up
? Who should the patient see next?
? Which follow-up was arranged?

# Plan
@ pending
+ {Lab} pending at discharge.
+ Awaiting {lab}.
+ {Lab} sent, result outstanding.
? Which results are pending?
? What is still outstanding?
? pending tests

# Plan
@ repeat
+ Repeat {lab} in {duration}.
+ Check {lab} next week.
+ Needs {lab} before the next visit.
? Which tests need to be repeated?
? What should be checked?
? When is {lab} due?

# Instructions
@ return
+ Come back at once if there is {symptom7} or {symptom8}.
+ Call us in case of {symptom7}.
+ Return to the emergency room for {symptom7}, {symptom8}.
? When should the patient come back?
? warning signs
? What should make the patient call?

# Instructions
@ activity
+ No lifting over {digit} kg for {duration}.
+ May not drive for {duration}.
+ Bed rest for {duration}, then walk with crutches.
+ Weight bearing as tolerated.
? Can the patient drive?
? What activity is allowed?
? restrictions after discharge

# Instructions
@ diet
+ Low-salt diet.
+ Nothing by mouth after midnight.
+ Diabetic diet, fluids limited to {digit} litres.
? What may the patient eat?
? diet
? Is there a fluid restriction?

# Advance directives
@ code
+ Code status: full code.
+ DNR/DNI after talking with the {relative3}.
+ The patient does not want to be resuscitated.
? What is the code status?
? Should the patient be resuscitated?
? Is there an advance directive?

# Immunizations
@ vaccine
+ {Vaccine} vaccine given on {date}.
+ {Vaccine} vaccination up to date.
+ Declined the {vaccine} vaccine.
? Is the patient vaccinated?
? When was the {vaccine} vaccine given?
? immunizations

# Medications
@ pain
+ {Painkiller} {dose} as needed for pain.
+ Pain is controlled with {painkiller}.
+ {Painkiller} {often}, pain now {digit}/10.
? What does the patient take for pain?
? analgesia
? How strong is the pain?

# Medications
@ psych
+ {Psych} {dose} at night for {mood}.
+ {Psych} started {duration} ago for {mood}.
+ Off {psych} since {month}.
? What is {psych} given for?
? psychiatric medication
? Is the patient treated for {mood}?

# Psychiatric
@ suicide
+ No suicidal ideation.
+ Reports thoughts of suicide, no plan.
+ Denies wanting to hurt himself.
? Is the patient suicidal?
? suicide risk
? Any thoughts of self-harm?

# Neurological examination
@ neuro
+ Strength {digit}/5 in the {side} arm.
+ Weakness of the {side} leg.
+ No focal deficit.
? Is there weakness?
? neurological deficits
? Which side is weak?

# Device
@ device
+ {Device} placed in {year}.
+ Has a {device} since {year}.
+ {Device} checked in {month}, battery fine.
? Does the patient have an implant?
? When was the {device} put in?
? implanted devices

# Obstetric history
@ pregnancy
+ {number} weeks pregnant.
+ Not pregnant; last period on {date}.
+ G2P1, now at {number} weeks.
? Is the patient pregnant?
? How many weeks?
? pregnancy

# Functional status
@ mobility
+ Walks with a stick.
+ Uses a wheelchair outside.
+ Independent in all activities.
? How does the patient get around?
? mobility
? Does she need help in daily life?
"""

WORDS = """\
anticoagulant: warfarin, apixaban, rivaroxaban, dabigatran, edoxaban, heparin, enoxaparin, phenprocoumon,
  Eliquis, Coumadin, Xarelto
bleed: a gastrointestinal bleed, melena, a subdural hematoma, hematuria, a drop in hemoglobin, recurrent
  nosebleeds, a fall with head injury, planned surgery, low platelets, an intracranial hemorrhage, declining
  kidney function
clot: atrial fibrillation, deep vein thrombosis, pulmonary embolism, a mechanical valve, stroke prevention
dose: 5 mg, 2.5 mg, 10 mg, 20 mg, 40 mg, 500 mg, 850 mg, 1 g, 100 mg, 12.5 mg, 75 mcg, 18 units
often: daily, twice daily, b.i.d., every 8 hours, at bedtime, q.d., three times a day, every morning, weekly
pressure: lisinopril, ramipril, amlodipine, losartan, hydrochlorothiazide, metoprolol, bisoprolol, valsartan,
  carvedilol
sideeffect: cough, dizziness, ankle swelling, angioedema, hyperkalemia, a slow pulse, a rash, low sodium,
  fainting
diabetesdrug: metformin, insulin glargine, empagliflozin, sitagliptin, liraglutide, glipizide, gliclazide,
  semaglutide
percent: 6.8%, 7.4%, 8.1%, 9.2%, 10.5%
antibiotic: ceftriaxone, amoxicillin, vancomycin, ciprofloxacin, doxycycline, meropenem, azithromycin,
  cefazolin, nitrofurantoin, metronidazole, levofloxacin
infection: pneumonia, a urinary tract infection, cellulitis, cholangitis, sepsis, a wound infection,
  endocarditis
allergen: penicillin, sulfa, codeine, latex, iodine contrast, peanuts, aspirin, morphine, amoxicillin
reaction: hives, rash, anaphylaxis, swelling of the lips, vomiting, itching, shortness of breath
symptom: chest pain, shortness of breath, headache, abdominal pain, cough, fever, dizziness, nausea, vomiting,
  leg swelling, back pain, palpitations, blurred vision, diarrhea, night sweats, weight loss, a rash, joint
  pain, double vision, numbness, weakness, jaundice, blood in the stool, burning on urination, syncope, chills
duration: two days, three weeks, six months, one week, ten days, two years, four hours, 6 weeks, one month
trigger: on exertion, when lying down, after meals, at night, in the cold, with deep breaths, when walking
  uphill
relief: at rest, with nitroglycerin, when leaning forward, after antacids, with ibuprofen, in the morning
disease: asthma, COPD, diabetes, hypertension, coronary artery disease, stroke, epilepsy, breast cancer, colon
  cancer, gout, hypothyroidism, rheumatoid arthritis, chronic kidney disease, cirrhosis, migraine, atrial
  fibrillation, pulmonary embolism, myocardial infarction, tuberculosis, Crohn's disease, glaucoma, depression,
  osteoporosis, pancreatitis, meningitis, appendicitis, heart failure, multiple sclerosis, sarcoidosis,
  endometriosis
operation: appendectomy, hip replacement, coronary bypass, cholecystectomy, hysterectomy, knee arthroscopy,
  hernia repair, cesarean section, mastectomy, colectomy, tonsillectomy, cataract surgery
complication: bleeding, an infection, a leak, pneumothorax, a hematoma, urinary retention, ileus
relative: mother, father, brother, sister, maternal aunt, grandfather, son, daughter, cousin
job: teacher, nurse, truck driver, carpenter, farmer, accountant, cook, welder, librarian, bus driver
lungs: clear to auscultation, crackles at both bases, wheezing throughout, diminished on the left, rhonchi
edema: pitting edema to the shins, no edema, swelling of the left leg, trace ankle edema
bug: E. coli, Staphylococcus aureus, Klebsiella, MRSA, Enterococcus, Streptococcus pneumoniae, Pseudomonas
part: head, chest, abdomen, pelvis, spine, neck, liver, kidney, thyroid, breast, lung, colon, brain, knee
finding: a mass of 3 cm, no acute abnormality, an abscess, a small hemorrhage, enlarged lymph nodes, a stone,
  free fluid, an infarct, a fracture, a cyst, metastases, dilated bile ducts, a meniscal tear
chestfilm: a right lower lobe infiltrate, no infiltrate, cardiomegaly, a left pleural effusion, clear lungs
valve: mild mitral regurgitation, severe aortic stenosis, no valve disease, moderate tricuspid regurgitation
rhythm: atrial fibrillation, sinus rhythm, ST elevation in the inferior leads, left bundle branch block, sinus
  tachycardia, a prolonged QT interval, no ischemic changes
histology: adenocarcinoma, chronic gastritis, squamous cell carcinoma, no malignancy, a tubular adenoma,
  lymphoma
procedure: colonoscopy, coronary angiography, stenting, lumbar puncture, ERCP, dialysis, bronchoscopy,
  thoracentesis, cardioversion, upper endoscopy, ablation, drainage of the abscess
problem: the acute kidney injury, the confusion, the fall, the anemia, the low sodium, the rash, the liver
  injury, the seizure, the hypoglycemia, the diarrhea, the bleeding, the delirium
reason: dehydration, vancomycin, opioids, missed doses, an infection, too much insulin, alcohol withdrawal, iron
  deficiency, a drug interaction, low blood pressure, a new antibiotic, poor intake, respiratory failure
test: CT, MRI, echocardiography, a D-dimer, ultrasound, biopsy, lumbar puncture, endoscopy, angiography
treatment: furosemide, morphine, intravenous fluids, prednisone, inhaled albuterol, ondansetron, oxygen, a nerve
  block, physiotherapy, iron, antacids, haloperidol
name: Novak, Silva, Brandt, Osei, Lindgren, Kaur, Duval, Ito, Romero, Fischer
clinic: cardiology, the wound clinic, oncology, the diabetes nurse, neurology, her family doctor, the surgeon,
  physiotherapy
lab: creatinine, blood count, potassium, CT scan, urine culture, thyroid function, INR, liver tests,
  colonoscopy, biopsy result, genetic testing, chest film, PSA
vaccine: influenza, pneumococcal, tetanus, COVID-19, hepatitis B, shingles
painkiller: acetaminophen, ibuprofen, oxycodone, tramadol, morphine, naproxen, hydromorphone, celecoxib
psych: sertraline, quetiapine, lithium, mirtazapine, escitalopram, bupropion, olanzapine, venlafaxine
mood: depression, anxiety, insomnia, bipolar disorder, panic attacks, psychosis
side: left, right
device: pacemaker, defibrillator, port, nephrostomy tube, cochlear implant, insulin pump, hip prosthesis
year: 1998, 2004, 2009, 2013, 2016, 2018, 2019, 2020, 2021, 2022
month: January, March, April, June, August, October, December
date: 3 March, 12 May, 5/14, 21 November, 2 July, 9/3, 30 January, Monday
days: 3, 5, 7, 10, 14
number: 8, 12, 15, 20, 22, 30, 35, 40, 45
digit: 1, 2, 3, 4, 5
age: 45, 52, 60, 71, 38, 66
systolic: 104, 118, 132, 148, 156, 172, 190
diastolic: 58, 66, 74, 82, 90, 102
pulse: 54, 68, 76, 88, 104, 122
saturation: 86, 91, 94, 97, 99
kilos: 48, 57, 63, 72, 81, 96, 120
creatinine: 0.8, 1.1, 1.4, 1.9, 2.6, 3.3
hb: 7.2, 8.4, 9.9, 11.2, 13.5
potassium: 2.9, 3.3, 4.1, 5.2, 6.0
"""
"""By blank what may fill it; a line that begins with blanks goes on with the one above. A number at the end of a
blank's name asks for another filling of the same kind."""

_BLANK = re.compile(r"\{([A-Za-z]+?)(\d?)\}")

HEADED = ("none", "apart", "APART", "inline", "INLINE")

UNANSWERED = 0.25
"""The share of questions about a fact that the note does not hold."""


@dataclass(frozen=True)
class Fact:
    """A kind of fact: where it stands, how it is written, how it is asked for."""

    heading: str
    family: str
    says: tuple[tuple[str, ...], ...]
    asks: tuple[str, ...]


@dataclass(frozen=True)
class MadeNote:
    """A note and what is asked of it: its lines are pairs of heading and sentence, the answers numbers of lines."""

    lines: tuple[tuple[str, str], ...]
    asked: tuple[tuple[str, frozenset[int]], ...]


def notes(count: int, seed: int, others: Sequence[str] = (), most: int = 6) -> Iterator[MadeNote]:
    """Yield so many notes, each with one to `most` questions on facts that it holds or lacks.

    `others` are sentences of real notes. Some stand among the made-up ones, those that mention nothing that a
    question names, so that they cannot answer it.
    """
    rng = random.Random(seed)
    for _ in range(count):
        yield _note(rng, others, most)


def _note(rng: random.Random, sentences: Sequence[str], most: int) -> MadeNote:
    families: dict[str, list[Fact]] = {}
    for fact in facts():
        families.setdefault(fact.family, []).append(fact)
    known = [rng.choice(families[name]) for name in rng.sample(sorted(families), rng.randint(6, 18))]
    fillings = {fact: _filling(rng) for fact in known}
    asked = known[: rng.randint(1, most)]
    held = [fact for fact in known if fact not in asked or rng.random() > UNANSWERED] or known[:1]
    rng.shuffle(held)
    # Under one heading stands together what belongs there; the headings come in any order.
    order = list(dict.fromkeys(fact.heading for fact in held))
    held.sort(key=lambda fact: order.index(fact.heading))
    lines: list[tuple[str, str, Fact | None]] = [
        (fact.heading, _filled(sentence, fillings[fact]), fact)
        for fact in held
        for sentence in rng.choice(fact.says)
    ]
    asks = {fact: rng.choice(fact.asks) for fact in asked}
    named = [
        _filled(blank.group(), fillings[fact]).lower().removeprefix("a ").removeprefix("the ")
        for fact, ask in asks.items()
        for blank in _BLANK.finditer(ask)
    ]
    if named and sentences:
        for sentence in rng.sample(sentences, rng.randint(0, 6)):
            if not any(word in sentence.lower() for word in named):
                place = rng.randrange(len(lines))
                lines.insert(place, (lines[place][0], sentence, None))
    return MadeNote(
        tuple(_headed(((heading, sentence) for heading, sentence, _ in lines), rng.choice(HEADED))),
        tuple(
            (
                _as_typed(_filled(ask, fillings[fact]), rng),
                frozenset(number for number, (_, _, told) in enumerate(lines) if told is fact),
            )
            for fact, ask in asks.items()
        ),
    )


def _headed(lines: Iterable[tuple[str, str]], style: str) -> Iterator[tuple[str, str]]:
    """Yield the lines as a note has them: no headings, headings apart, or each at the head of its first sentence."""
    before = ""
    for heading, sentence in lines:
        shown = heading.upper() if style.isupper() else heading
        if style.lower() == "none":
            yield "", sentence
        elif style.lower() == "inline" and heading != before:
            yield shown, f"{shown}: {sentence}"
        else:
            yield shown, sentence
        before = heading


def _as_typed(question: str, rng: random.Random) -> str:
    """Return the question as somebody in a hurry types it, now and then."""
    return question.lower().rstrip("?") if rng.random() < 0.3 else question


@cache
def _words() -> dict[str, list[str]]:
    entries = (line.split(": ", 1) for line in re.sub(r"\n +", " ", WORDS).splitlines())
    return {kind: words.split(", ") for kind, words in entries}


@cache
def facts() -> tuple[Fact, ...]:
    """Return the facts of the list above."""
    return tuple(_fact(block.splitlines()) for block in FACTS.strip().split("\n\n"))


def _fact(lines: Sequence[str]) -> Fact:
    heading, family = lines[0].removeprefix("# "), lines[1].removeprefix("@ ")
    says = tuple(tuple(line[2:].split(" || ")) for line in lines if line.startswith("+ "))
    return Fact(heading, family, says, tuple(line[2:] for line in lines if line.startswith("? ")))


def _filling(rng: random.Random) -> dict[str, str]:
    """Return a word for each blank; those of one kind with different numbers differ."""
    filling = {}
    for kind, choices in _words().items():
        for number, word in zip(("", *"23456789"), rng.sample(choices, min(len(choices), 9)), strict=False):
            filling[kind + number] = word
    return filling


def _filled(line: str, filling: Mapping[str, str]) -> str:
    def word(match: re.Match[str]) -> str:
        name = match[1] + match[2]
        found = filling[name[0].lower() + name[1:]]
        return found[0].upper() + found[1:] if name[0].isupper() else found

    return _BLANK.sub(word, line)
