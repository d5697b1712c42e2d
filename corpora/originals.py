"""Where the corpora come from officially, what their files hash to, and how they become our shape.

    clinical corpora pull bc5cdr

Addresses name the commit, so that the files cannot change behind them; a checksum that is not known beforehand
is recorded at the first pull, and holds from then on. A corpus that is in neither table must be fetched by hand,
and `BY_HAND` says how where there is more to say than its address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clinical.corpora.conversion import aci_bench, baize, chq, iob, medquad, meqsum, mts_dialog, opi, pubmedqa


@dataclass(frozen=True)
class Original:
    """One file of a corpus as its authors publish it."""

    address: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """The name of the file within its folder here."""
        return self.address.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Pull:
    """What to fetch, and what makes of it, in that order, the files of our shape in a folder."""

    originals: tuple[Original, ...]
    convert: Callable[[list[Path], Path], None]


def _raw(repository: str, path: str, sha256: str | None = None) -> Original:
    return Original(f"https://raw.githubusercontent.com/{repository}/{path}", sha256)


MTL = "cambridgeltl/MTL-Bioinformatics-2016/df0df02fae6dbb87d88ffcf323b9096528f06f84"
PUBMEDQA = "pubmedqa/pubmedqa/1cbae8e92f72f20c8d3747cbb3bf5bc53554d997"
MTS = "abachaa/MTS-Dialog/3ff0801933608d6f570468c13125125fb5cabdea"
ACI = "wyim/aci-bench/b909b2bb9cf1d19de08df15cddde7bd0179665e4"
CLIN_SUMM = "StanfordMIMI/clin-summ/16648c7759d9380220b3cac0dd46c7f807d3e782"
MEQSUM = "abachaa/MeQSum/51e36cf65c12602333b6fdc3ae8ecf10430529f7"
MEDIQA = "abachaa/MEDIQA2021/8d7fe20706dd6af0d089a0252a201c3da78ded8f"
BAIZE = "project-baize/baize-chatbot/4fae6c4e550f087958c1f60746f0e6290e6b9f02"
MEDQUAD = "https://codeload.github.com/abachaa/MedQuAD/tar.gz/577bd37b96c02d1833b2c9eed2de9f96964e96cb"

PULLS: Mapping[str, Pull] = {
    "anatem": Pull(
        (
            _raw(
                MTL,
                "data/AnatEM-IOB/train.tsv",
                "bd4235e9673f7c67667c1eb321903a51544a94cf481ba265b527b3104d6ba806",
            ),
            _raw(
                MTL,
                "data/AnatEM-IOB/devel.tsv",
                "0758bb2f26ec12fc717c1054b64ea00a40c7aae26b21a7541b86fbfba66119ec",
            ),
            _raw(
                MTL,
                "data/AnatEM-IOB/test.tsv",
                "a3d6555f6f5b7809fc014bee975be0db93c012d770ab60c190cf37d589e97fc9",
            ),
        ),
        partial(iob, "anatem"),
    ),
    "bc2gm": Pull(
        (
            _raw(
                MTL,
                "data/BC2GM-IOB/train.tsv",
                "46e17f4e1509483b82c03f27d6f0214020f738fb71704356fb3445eb824ab38d",
            ),
            _raw(
                MTL,
                "data/BC2GM-IOB/devel.tsv",
                "33a94577aa22f1e70ec9e02781a05baa4e1390e866d28bf2b344888e4e3d4103",
            ),
            _raw(
                MTL,
                "data/BC2GM-IOB/test.tsv",
                "30d7a4f571ca8ed22a044528063ba5d0388d666d8b8b329733d6927e5fb30764",
            ),
        ),
        partial(iob, "bc2gm"),
    ),
    "bc5cdr": Pull(
        (
            _raw(
                MTL,
                "data/BC5CDR-IOB/train.tsv",
                "b731361c0ed73afd04cc5fdad39afcdfd8f325d6e46c282339185a91d1af4c14",
            ),
            _raw(
                MTL,
                "data/BC5CDR-IOB/devel.tsv",
                "b909de65c4f7e3c23bb09ad52d654cdc92e96db941abe1a5dcf6f6010c03cff5",
            ),
            _raw(
                MTL,
                "data/BC5CDR-IOB/test.tsv",
                "e41a2843a5fff0cd8d1a88cb147968d61ae29336ca70cddc3d7fb8ff21dfa1e8",
            ),
        ),
        partial(iob, "bc5cdr"),
    ),
    "bionlp13cg": Pull(
        (
            _raw(
                MTL,
                "data/BioNLP13CG-IOB/train.tsv",
                "016ee311428431433c46ceeebeba5fce9c3da9bfd05fafcc484e57a736ea91e7",
            ),
            _raw(
                MTL,
                "data/BioNLP13CG-IOB/devel.tsv",
                "6c834f3a16ed080940e7e12d831ca8f79458d08db5d6f0c1fdbfe85c3c7a072c",
            ),
            _raw(
                MTL,
                "data/BioNLP13CG-IOB/test.tsv",
                "9ee374ba1b93af177ba3d39dfda4c7e1602bd703d8011bae46a34f3d719cd338",
            ),
        ),
        partial(iob, "bionlp13cg"),
    ),
    "craft": Pull(
        (
            _raw(
                MTL,
                "data/CRAFT-IOB/train.tsv",
                "3c49de4dba0a490459d2f7c8c0d1ae7659e2efeff8b1afec610226902f525979",
            ),
            _raw(
                MTL,
                "data/CRAFT-IOB/devel.tsv",
                "95960d9a2fe97e437ca864c3e4c3f2c77c29a3bf8d3483c5e52a7e1a0f46b4ce",
            ),
            _raw(
                MTL,
                "data/CRAFT-IOB/test.tsv",
                "f4d105baa2ad0db0aab6348ec9f90af00ce8175bc47282ddb5079d01d884b90c",
            ),
        ),
        partial(iob, "craft"),
    ),
    "linnaeus": Pull(
        (
            _raw(
                MTL,
                "data/linnaeus-IOB/train.tsv",
                "74c8612944a4de87665680989a3d589c843562d3ec175e3b512295691b221d9a",
            ),
            _raw(
                MTL,
                "data/linnaeus-IOB/devel.tsv",
                "042b5676d4f541995d617f43e2926afdf6653ed60ad9010c2f45b78ae869f2b6",
            ),
            _raw(
                MTL,
                "data/linnaeus-IOB/test.tsv",
                "1792b82f7cf9159fd71de38b139a457dbc5ca126c13ac9e355a5fad3e65930ad",
            ),
        ),
        partial(iob, "linnaeus"),
    ),
    "pubmedqa": Pull(
        (
            _raw(
                PUBMEDQA,
                "data/ori_pqal.json",
                "8b3276be8942ebbd77f3ddcda12c1749bf0e490045a736fd8438ee40cf37a41d",
            ),
            _raw(
                PUBMEDQA,
                "data/test_ground_truth.json",
                "939fe566f09017d13b1ca64d2ddfee0bc2374b366048152997669cccedc44d51",
            ),
        ),
        pubmedqa,
    ),
    "mts_dialog": Pull(
        (
            _raw(
                MTS,
                "Main-Dataset/MTS-Dialog-TrainingSet.csv",
                "65a28681dd59fc159681ea026e44610f2af7bc64a0e7f892d763eb03d9f503dc",
            ),
            _raw(
                MTS,
                "Main-Dataset/MTS-Dialog-ValidationSet.csv",
                "227206520c4534381c0d7fba6d3f09319a9af5a6d9603a93c0341af1198e3958",
            ),
            _raw(
                MTS,
                "Main-Dataset/MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
                "b4d38dd2c99b2e9860099abcf653f1e0f3e9b69f9fcc45be2a2699b37a4d2f37",
            ),
        ),
        mts_dialog,
    ),
    "aci_bench": Pull(
        (
            _raw(
                ACI,
                "data/challenge_data/train.csv",
                "6c778d4ac5e6cc6f1964786f9286e8d765c210f22ed6b57f83aff8497409cea4",
            ),
            _raw(
                ACI,
                "data/challenge_data/valid.csv",
                "6629e89e3fb409d2b3eceab60dc7b32fe1d3fb8d4e07795039284965522aa4d0",
            ),
            _raw(
                ACI,
                "data/challenge_data/clinicalnlp_taskB_test1.csv",
                "5cc4008e68545f84913744a8e493a58bdf17ba7e1b7a0be46d6943d6bfca9471",
            ),
        ),
        aci_bench,
    ),
    "opi": Pull(
        (
            _raw(
                CLIN_SUMM,
                "data/opi/train.jsonl",
                "aca1763de4fb0377748dbf1897f9d5603c170edec6735a5f5a8d99480b3b1bd9",
            ),
            _raw(
                CLIN_SUMM,
                "data/opi/validate.jsonl",
                "9ab3a9445b3c61edb617655556e661b997b260e673a84efaeb423e04802b21c3",
            ),
            _raw(
                CLIN_SUMM,
                "data/opi/test.jsonl",
                "a0bd7b81096ba9e1918ba828d5c46374127057079d8a71dc2763b0ee91a0840a",
            ),
        ),
        opi,
    ),
    "meqsum": Pull(
        (
            _raw(
                MEQSUM,
                "MeQSum_ACL2019_BenAbacha_Demner-Fushman.xlsx",
                "abedd939d5014306ca576522416bf69103e85dc8fcf1668a4099e8b84a39eeea",
            ),
        ),
        meqsum,
    ),
    "chq": Pull(
        (
            _raw(
                MEDIQA,
                "Task1/MEDIQA2021-Task1-QuestionSummarization-ValidationSet.xlsx",
                "6be459891f12bb7d7812d0c2b243ad9e7ae0b178542bab8123a1130312154bb5",
            ),
            _raw(
                MEDIQA,
                "Task1/MEDIQA2021-Task1-TestSet-ReferenceSummaries.xlsx",
                "c5d740a64c84deea4960bb0622b1243cab8664b4b2a387c9b497ddbbafbc9b61",
            ),
        ),
        chq,
    ),
    # An archive made on the fly has no checksum of its own to rely on: its pages are checked after unpacking.
    "medquad": Pull((Original(MEDQUAD),), medquad),
    "baize": Pull((_raw(BAIZE, "data/medical_chat_data.json"),), baize),
}

BY_HAND: Mapping[str, str] = {
    "mashqa": "Google Drive asks for a browser: follow the link in the README of github.com/mingzhu0527/MASHQA, unpack "
    "the archive, and name its files where a corpus is wanted, as in `clinical corpora audit "
    "train_webmd_squad_v2_full.json`",
    "gath_baize": "open huggingface.co/datasets/gathnex/Gath_baize, accept its terms, save it as .jsonl or .csv, and "
    "name the file where a corpus is wanted; its column dataset_origin says which rows are medical",
}
