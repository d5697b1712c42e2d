"""The catalogue of corpora: one row each with its task, terms, and how its labels map to ours.

    clinical corpora list

A new corpus of the stored shape (`clinical.corpora.records`) is one row here. `may_train` says whether
weights that are shipped may be trained on it; the other corpora measure. A licence is quoted as far as its
origin states it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from clinical.errors import UsageError

Task = Literal["ner", "assertion", "qa", "chat", "retrieval", "summarize", "documents", "abbreviations"]
Unit = Literal["document", "sentence"]

TRAIN_DEV_TEST = ("train.jsonl.gz", "dev.jsonl.gz", "test.jsonl.gz")
TRAIN_DEV = ("train.jsonl.gz", "dev.jsonl.gz")
MTL = "cambridgeltl/MTL-Bioinformatics-2016 @ df0df02fae6d"
MTL_LICENCE = (
    "CC BY 4.0 (as stated by the repository it was taken from; the organisers' terms are not quoted)"
)


@dataclass(frozen=True)
class Corpus:
    """One corpus: what it is, where it comes from, under which terms, and what it calls things.

    `folder` and `files` lie below the corpora folder; a corpus without files is read from wherever its user has
    them. `unit` says what one record is; the sentences of a
    sentence corpus stand in document order without marks between documents. `tokenized` records are tokens
    joined by single blanks, not the typography of a note. `labels` maps each label of the corpus to the label
    of `clinical.prompts.labels` that it stands for, or to `None` where there is none. A label in
    `label_attribute` is split by the value of that attribute, and written `LABEL:VALUE` in `labels`.
    """

    name: str
    task: Task
    folder: str
    files: tuple[str, ...]
    licence: str
    may_train: bool
    citation: str
    address: str
    origin: str
    unit: Unit = "document"
    tokenized: bool = False
    labels: Mapping[str, str | None] = field(default_factory=dict)
    label_attribute: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `clinical.corpora.records.read` takes: the record files without their ending."""
        ending = ".jsonl.gz"
        return tuple(file.removesuffix(ending) for file in self.files if file.endswith(ending))

    @property
    def clinical_labels(self) -> tuple[str, ...]:
        """Our labels that this corpus annotates, each once, in the order of its rows."""
        return tuple(dict.fromkeys(label for label in self.labels.values() if label is not None))


MACCROBAT_LABELS: dict[str, str | None] = {
    "Disease_disorder": "Disease",
    "Sign_symptom": "Symptom",
    "Medication": "Medication",
    "Dosage": "Dosage",
    "Frequency": "Frequency",
    "Administration": "Route",
    "Diagnostic_procedure": "Test",
    "Lab_value": "Result",
    "Therapeutic_procedure": "Procedure",
    "Biological_structure": "Anatomy",
    "Age": "Age",
    "Sex": "Sex",
    "Date": "Date",
    "Time": "Date",
    "Duration": "Duration",
    "Severity": "Severity",
    "Clinical_event": "Event",
    "Outcome": "Outcome",
    "Nonbiological_location": "Location",
    "Distance": "Size",
    "Area": "Size",
    "Volume": "Size",
    "Weight": "Size",
    "Height": "Size",
    "Mass": "Size",
    "Detailed_description": "Descriptor",
    "Shape": "Descriptor",
    "Texture": "Descriptor",
    "Color": "Descriptor",
    "History": "History",
    "Family_history": "Family_history",
    "Activity": "Activity",
    "Occupation": "Background",
    "Personal_background": "Background",
    "Biological_attribute": None,
    "Coreference": None,
    "Other_entity": None,
    "Other_event": None,
    "Qualitative_concept": None,
    "Quantitative_concept": None,
    "Subject": None,
}

E3C_LABELS: dict[str, str | None] = {
    # "Clinical entities" are the disorders of UMLS: diseases, and also the signs and symptoms that other
    # corpora keep apart, so a system that calls "headache" a Symptom is counted wrong here.
    "CLINENTITY": "Disease",
    "BODYPART": "Anatomy",
    "RML": "Result",
    "TIMEX3:DATE": "Date",
    "TIMEX3:TIME": "Date",
    "TIMEX3:DURATION": "Duration",
    "TIMEX3:SET": "Frequency",
    "TIMEX3:PREPOSTEXP": None,
    "TIMEX3:QUANTIFIER": None,
    "EVENT": None,
    "ACTOR": None,
}

BIONLP13CG_LABELS: dict[str, str | None] = {
    "Gene_or_gene_product": "Gene",
    "Cancer": "Disease",
    "Simple_chemical": "Medication",
    "Amino_acid": "Medication",
    "Organism": "Species",
    "Organ": "Anatomy",
    "Tissue": "Anatomy",
    "Multi-tissue_structure": "Anatomy",
    "Anatomical_system": "Anatomy",
    "Organism_subdivision": "Anatomy",
    "Developing_anatomical_structure": "Anatomy",
    "Immaterial_anatomical_entity": "Anatomy",
    # AnatEM, by the same authors, counts these as anatomical entities too.
    "Cell": "Anatomy",
    "Cellular_component": "Anatomy",
    "Organism_substance": "Anatomy",
    "Pathological_formation": "Anatomy",
}

CORPORA: tuple[Corpus, ...] = (
    Corpus(
        name="bc5cdr",
        task="ner",
        folder="ner/bc5cdr",
        files=TRAIN_DEV_TEST,
        licence=MTL_LICENCE,
        may_train=True,
        citation="Li J. et al. BioCreative V CDR task corpus: a resource for chemical disease relation "
        "extraction. Database 2016.",
        address="https://biocreative.bioinformatics.udel.edu/tasks/biocreative-v/track-3-cdr/",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        labels={"Chemical": "Medication", "Disease": "Disease"},
    ),
    Corpus(
        name="ncbi_disease",
        task="ner",
        folder="ner/ncbi_disease",
        files=TRAIN_DEV,
        licence="public domain (US Government work)",
        may_train=True,
        citation="Dogan R.I., Leaman R., Lu Z. NCBI disease corpus: a resource for disease name recognition "
        "and concept normalization. J Biomed Inform 2014.",
        address="https://www.ncbi.nlm.nih.gov/CBBresearch/Dogan/DISEASE/",
        origin="spyysalo/ncbi-disease @ 5a266c6fc76f",
        labels={"Disease": "Disease"},
    ),
    Corpus(
        name="anatem",
        task="ner",
        folder="ner/anatem",
        files=TRAIN_DEV_TEST,
        licence="CC BY 4.0 (as stated by the repository it was taken from; the first release is believed CC "
        "BY-SA 3.0)",
        may_train=True,
        citation="Pyysalo S., Ananiadou S. Anatomical entity mention recognition at literature scale. "
        "Bioinformatics 2014.",
        address="http://nactem.ac.uk/anatomytagger/",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        labels={"Anatomy": "Anatomy"},
    ),
    Corpus(
        name="bc2gm",
        task="ner",
        folder="ner/bc2gm",
        files=TRAIN_DEV_TEST,
        licence=MTL_LICENCE,
        may_train=True,
        citation="Smith L. et al. Overview of BioCreative II gene mention recognition. Genome Biology 2008.",
        address="https://biocreative.bioinformatics.udel.edu/tasks/biocreative-ii/task-1a-gene-mention-tagging/",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        labels={"GENE": "Gene"},
    ),
    Corpus(
        name="bionlp13cg",
        task="ner",
        folder="ner/bionlp13cg",
        files=TRAIN_DEV_TEST,
        licence="annotations CC BY-SA 3.0 (share-alike); abstracts under PubMed terms",
        may_train=False,
        citation="Pyysalo S. et al. Overview of the Cancer Genetics and Pathway Curation tasks of BioNLP "
        "Shared Task 2013. BMC Bioinformatics 2015.",
        address="http://2013.bionlp-st.org/tasks/cancer-genetics",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        labels=BIONLP13CG_LABELS,
    ),
    Corpus(
        name="craft",
        task="ner",
        folder="ner/craft",
        files=TRAIN_DEV_TEST,
        licence="CC BY 4.0 (as stated by the repository it was taken from; the first release is believed CC "
        "BY 3.0 US)",
        may_train=True,
        citation="Bada M. et al. Concept annotation in the CRAFT corpus. BMC Bioinformatics 2012.",
        address="https://github.com/UCDenver-ccp/CRAFT",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        # Cell types, biological processes and sequence features have no label in the clinical set.
        labels={"CHEBI": "Medication", "GGP": "Gene", "Taxon": "Species", "CL": None, "GO": None, "SO": None},
    ),
    Corpus(
        name="linnaeus",
        task="ner",
        folder="ner/linnaeus",
        files=TRAIN_DEV_TEST,
        licence=MTL_LICENCE,
        may_train=True,
        citation="Gerner M., Nenadic G., Bergman C.M. LINNAEUS: a species name identification system for "
        "biomedical literature. BMC Bioinformatics 2010.",
        address="https://linnaeus.sourceforge.net/",
        origin=MTL,
        unit="sentence",
        tokenized=True,
        labels={"Species": "Species"},
    ),
    Corpus(
        name="maccrobat",
        task="ner",
        folder="ner/maccrobat",
        files=TRAIN_DEV,
        licence="believed CC BY 4.0; not stated in the repository it was taken from",
        may_train=True,
        citation="Caufield J.H. et al. A comprehensive typing system for information extraction from "
        "clinical narratives. medRxiv 2019.",
        address="https://doi.org/10.6084/m9.figshare.9764942",
        origin="Saieiei/NLP @ f2b522984cc6",
        labels=MACCROBAT_LABELS,
    ),
    Corpus(
        name="e3c",
        task="ner",
        folder="ner/e3c",
        # Layer 1 (train, dev) is manual. Layer 2 is by dictionary, a tenth of it checked: CLINENTITY only.
        files=(*TRAIN_DEV, "train_layer2_auto.jsonl.gz", "dev_layer2_checked.jsonl.gz"),
        licence="CC BY-NC (non-commercial)",
        may_train=False,
        citation="Magnini B. et al. The E3C project: collection and annotation of a multilingual corpus of "
        "clinical cases. CLiC-it 2020.",
        address="https://github.com/hltfbk/E3C-Corpus",
        origin="hltfbk/E3C-Corpus @ 8196181eacd5",
        labels=E3C_LABELS,
        label_attribute={"TIMEX3": "timex3Class"},
    ),
    Corpus(
        name="ada_case_reports",
        task="ner",
        folder="ner/ada_case_reports",
        files=TRAIN_DEV,
        licence='unclear ("Creative Common Licenses")',
        may_train=False,
        citation="Schulz S. et al. Named entities in medical case reports: corpus and experiments. LREC "
        "2020.",
        address="https://github.com/adahealth/medical_case_report_corpus",
        origin="adahealth/medical_case_report_corpus @ 23883361353e",
        # A condition is the diagnosis that the report is about; findings are what is observed, tests with
        # their results among them. Factors (age, sex, habits) and modifiers (negation) are mixtures.
        labels={"finding": "Symptom", "condition": "Disease", "factor": None, "modifier": None},
    ),
    Corpus(
        name="negex",
        task="assertion",
        folder="assertion/negex",
        files=TRAIN_DEV_TEST,
        licence="unclear; real, de-identified clinical text",
        may_train=False,
        citation="Chapman W.W. et al. A simple algorithm for identifying negated findings and diseases in "
        "discharge summaries. J Biomed Inform 2001.",
        address="https://github.com/chapmanbe/negex",
        origin="weissman-lab/negex @ 4935029828e3",
    ),
    Corpus(
        name="medquad",
        task="qa",
        folder="qa/medquad",
        files=TRAIN_DEV,
        licence="CC BY 4.0",
        may_train=True,
        citation="Ben Abacha A., Demner-Fushman D. A question-entailment approach to question answering. "
        "BMC Bioinformatics 2019.",
        address="https://github.com/abachaa/MedQuAD",
        origin="abachaa/MedQuAD @ 577bd37b96c0",
    ),
    Corpus(
        name="pubmedqa",
        task="qa",
        folder="qa/pubmedqa",
        files=TRAIN_DEV_TEST,
        licence="MIT (as stated by its repository)",
        may_train=True,
        citation="Jin Q. et al. PubMedQA: a dataset for biomedical research question answering. EMNLP 2019.",
        address="https://github.com/pubmedqa/pubmedqa",
        origin="pubmedqa/pubmedqa @ 1cbae8e92f72",
    ),
    Corpus(
        name="liveqa",
        task="qa",
        folder="qa/liveqa",
        files=("questions.jsonl.gz",),
        licence="not stated; reference answers quote third-party pages",
        may_train=False,
        citation="Ben Abacha A. et al. Overview of the medical question answering task at TREC 2017 LiveQA. "
        "TREC 2017.",
        address="https://github.com/abachaa/LiveQA_MedicalTask_TREC2017",
        origin="abachaa/LiveQA_MedicalTask_TREC2017 @ 3f5a42ccbaa0",
    ),
    Corpus(
        name="medicationqa",
        task="qa",
        folder="qa/medicationqa",
        files=TRAIN_DEV_TEST,
        licence="not stated",
        may_train=False,
        citation="Ben Abacha A. et al. Bridging the gap between consumers' medication questions and trusted "
        "answers. MEDINFO 2019.",
        address="https://github.com/abachaa/Medication_QA_MedInfo2019",
        origin="abachaa/Medication_QA_MedInfo2019 @ 8756adc5f4bb",
    ),
    Corpus(
        name="mashqa",
        task="qa",
        folder="qa/mashqa",
        files=(),
        licence="not stated; the articles are WebMD's",
        may_train=False,
        citation="Zhu M. et al. Question answering with long multiple-span answers. Findings of EMNLP 2020.",
        address="https://github.com/mingzhu0527/MASHQA",
        origin="mingzhu0527/MASHQA",
    ),
    Corpus(
        name="baize",
        task="chat",
        folder="chat/baize",
        files=("train.jsonl.gz",),
        licence="research use only (conversations of ChatGPT with itself on MedQuAD's questions)",
        may_train=False,
        citation="Xu C. et al. Baize: an open-source chat model with parameter-efficient tuning on self-chat data. "
        "EMNLP 2023.",
        address="https://github.com/project-baize/baize-chatbot",
        origin="project-baize/baize-chatbot @ 4fae6c4e550f",
    ),
    Corpus(
        name="gath_baize",
        task="chat",
        folder="chat/gath_baize",
        files=(),
        licence="not stated; made from Baize, whose data is for research use only",
        may_train=False,
        citation="Gathnex. Gath_baize, a data set of self-chat conversations.",
        address="https://huggingface.co/datasets/gathnex/Gath_baize",
        origin="gathnex/Gath_baize",
    ),
    Corpus(
        name="medquad_liveqa",
        task="retrieval",
        folder="retrieval/medquad_liveqa",
        files=(
            "queries.jsonl",
            "corpus.jsonl.gz",
            "corpus_reference.jsonl.gz",
            "qrels.tsv",
            "qrels_reference.tsv",
        ),
        licence="answers and judgements CC BY 4.0 (MedQuAD); questions not stated (LiveQA)",
        may_train=False,
        citation="Ben Abacha A., Demner-Fushman D. A question-entailment approach to question answering. "
        "BMC Bioinformatics 2019.",
        address="https://github.com/abachaa/MedQuAD",
        origin="abachaa/MedQuAD @ 577bd37b96c0, abachaa/LiveQA_MedicalTask_TREC2017 @ 3f5a42ccbaa0",
    ),
    Corpus(
        name="nfcorpus",
        task="retrieval",
        folder="retrieval/nfcorpus",
        files=("queries.jsonl", "corpus.jsonl.gz", "qrels_train.tsv", "qrels_dev.tsv", "qrels_test.tsv"),
        licence="academic use only",
        may_train=False,
        citation="Boteva V. et al. A full-text learning to rank dataset for medical information retrieval. "
        "ECIR 2016.",
        address="https://www.cl.uni-heidelberg.de/statnlpgroup/nfcorpus/",
        origin="ferdifdi/nfcorpus_medical_search_engine @ b9fcd249334f",
    ),
    Corpus(
        name="mts_dialog",
        task="summarize",
        folder="summarize/mts_dialog",
        files=(*TRAIN_DEV_TEST, "train_augmented.jsonl.gz"),
        licence="CC BY 4.0",
        may_train=True,
        citation="Ben Abacha A. et al. An empirical study of clinical note generation from doctor-patient "
        "encounters. EACL 2023.",
        address="https://github.com/abachaa/MTS-Dialog",
        origin="abachaa/MTS-Dialog @ 3ff080193360",
    ),
    Corpus(
        name="aci_bench",
        task="summarize",
        folder="summarize/aci_bench",
        files=TRAIN_DEV_TEST,
        licence="CC BY 4.0",
        may_train=True,
        citation="Yim W. et al. ACI-BENCH: a novel ambient clinical intelligence dataset for benchmarking "
        "automatic visit note generation. Scientific Data 2023.",
        address="https://github.com/wyim/aci-bench",
        origin="wyim/aci-bench @ b909b2bb9cf1",
    ),
    Corpus(
        name="d2n",
        task="summarize",
        folder="summarize/d2n",
        files=TRAIN_DEV_TEST,
        licence="CC BY 4.0 (ACI-Bench); the selection is subject to its creators' terms",
        may_train=False,
        citation="Van Veen D. et al. Adapted large language models can outperform medical experts in "
        "clinical text summarization. Nature Medicine 2024.",
        address="https://github.com/StanfordMIMI/clin-summ",
        origin="StanfordMIMI/clin-summ @ 16648c7759d9, wyim/aci-bench @ b909b2bb9cf1",
    ),
    Corpus(
        name="opi",
        task="summarize",
        folder="summarize/opi",
        files=TRAIN_DEV,
        licence="not stated in its origin; Open-i's terms unread, treat as non-commercial",
        may_train=False,
        citation="Demner-Fushman D. et al. Preparing a collection of radiology examinations for "
        "distribution and retrieval. JAMIA 2016.",
        address="https://openi.nlm.nih.gov/faq",
        origin="StanfordMIMI/clin-summ @ 16648c7759d9",
    ),
    Corpus(
        name="meqsum",
        task="summarize",
        folder="summarize/meqsum",
        files=TRAIN_DEV,
        licence="CC BY 4.0",
        may_train=True,
        citation="Ben Abacha A., Demner-Fushman D. On the summarization of consumer health questions. ACL "
        "2019.",
        address="https://github.com/abachaa/MeQSum",
        origin="abachaa/MeQSum @ 51e36cf65c12",
    ),
    Corpus(
        name="chq",
        task="summarize",
        folder="summarize/chq",
        files=("dev.jsonl.gz", "test.jsonl.gz"),
        licence="CC BY 4.0",
        # Its own shared task gives it no training split: it measures.
        may_train=False,
        citation="Ben Abacha A. et al. Overview of the MEDIQA 2021 shared task on summarization in the "
        "medical domain. BioNLP 2021.",
        address="https://github.com/abachaa/MEDIQA2021",
        origin="abachaa/MEDIQA2021 @ 8d7fe20706dd",
    ),
    Corpus(
        name="mtsamples",
        task="summarize",
        folder="summarize/mtsamples",
        files=TRAIN_DEV_TEST,
        licence="not stated in its origin",
        may_train=False,
        citation="MTSamples, transcribed medical transcription sample reports.",
        address="https://mtsamples.com",
        origin="kavyamistry/Text-Classification-of-Medical-Transcripts @ 7188940827d1, "
        "timarbende/DataScienceHW @ 68df09f723fd",
    ),
    Corpus(
        name="e3c_layer3",
        task="documents",
        folder="documents/e3c_layer3",
        files=("documents.jsonl.gz",),
        licence="CC BY-NC (non-commercial); each document names its article's licence",
        may_train=False,
        citation="Magnini B. et al. The E3C project: collection and annotation of a multilingual corpus of "
        "clinical cases. CLiC-it 2020.",
        address="https://github.com/hltfbk/E3C-Corpus",
        origin="hltfbk/E3C-Corpus @ 8196181eacd5",
    ),
    Corpus(
        name="mtsamples_documents",
        task="documents",
        folder="documents/mtsamples",
        files=("documents.jsonl.gz",),
        licence="not stated in its origin",
        may_train=False,
        citation="MTSamples, transcribed medical transcription sample reports.",
        address="https://mtsamples.com",
        origin="kavyamistry/Text-Classification-of-Medical-Transcripts @ 7188940827d1, "
        "timarbende/DataScienceHW @ 68df09f723fd, hackathonworks/datasets @ 06265568fb72",
    ),
    Corpus(
        name="abbreviations",
        task="abbreviations",
        folder="abbreviations",
        files=("senses.jsonl.gz",),
        licence="CC BY 4.0 (repository); each source has its own terms",
        may_train=False,
        citation="Grossman Liu L. et al. A deep database of medical abbreviations and acronyms for natural "
        "language processing. Scientific Data 2021.",
        address="https://github.com/lisavirginia/clinical-abbreviations",
        origin="lisavirginia/clinical-abbreviations @ c2530a6519ec",
    ),
)


def find(name: str) -> Corpus:
    """Return the corpus of this name; raises `UsageError` with the nearest name for one that is not known."""
    table = {corpus.name: corpus for corpus in CORPORA}
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no corpus {name!r}; {hint}available: {', '.join(table)}")
