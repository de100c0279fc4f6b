"""The one vocabulary of records, and the check that a table speaks it.

Every source ends in the columns of `COLUMNS`. A table is first read as text (`table.py`), brought to these
names and spellings, and then checked here as a whole, so that all of its problems are reported at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd

from ..errors import TableError

if TYPE_CHECKING:  # pandera takes 0.15 s to import
    import pandera.pandas as pa

COLUMNS = (
    "image_name",
    "path",
    "patient_id",
    "lesion_id",
    "sex",
    "age_approx",
    "anatom_site_general_challenge",
    "diagnosis",
    "target",
    "source",
)
# Columns that assign_folds and concat write. A table of somebody else's may have them by chance, and as text.
DIVISION = ("fold", "grouped_by", "linked_group", "patient_id_space", "lesion_id_space")
SEXES = ("female", "male")
SITES = ("head/neck", "lower extremity", "oral/genital", "palms/soles", "torso", "upper extremity")
DIAGNOSES = ("AK", "BCC", "BKL", "DF", "SCC", "VASC", "melanoma", "nevus", "unknown")
MAX_AGE = 120

# Headers seen in the wild, lower case, for each column of ours.
ALIASES: dict[str, tuple[str, ...]] = {
    "image_name": ("image_name", "image", "image_id", "isic_id", "imagename", "filename", "file_name"),
    "patient_id": ("patient_id", "patient"),
    "lesion_id": ("lesion_id", "lesion"),
    "sex": ("sex", "gender"),
    "age_approx": ("age_approx", "age", "approx_age"),
    "anatom_site_general_challenge": (
        "anatom_site_general_challenge",
        "anatom_site_general",
        "localization",
        "site",
    ),
    "diagnosis": ("diagnosis", "dx"),
    "target": ("target",),
}

# Site names of ISIC 2019, HAM10000 and the ISIC Archive in the words of 2020.
SITE_SYNONYMS: dict[str, str] = {
    "anterior torso": "torso",
    "lateral torso": "torso",
    "posterior torso": "torso",
    "back": "torso",
    "trunk": "torso",
    "abdomen": "torso",
    "chest": "torso",
    "face": "head/neck",
    "scalp": "head/neck",
    "neck": "head/neck",
    "ear": "head/neck",
    "foot": "lower extremity",
    "hand": "upper extremity",
    "acral": "palms/soles",
    "genital": "oral/genital",
}

# Published diagnoses in nine classes. "unknown" is not "nevus".
DIAGNOSIS_SYNONYMS: dict[str, str] = {
    "mel": "melanoma",
    "nv": "nevus",
    "akiec": "AK",
    "actinic keratosis": "AK",
    "basal cell carcinoma": "BCC",
    "squamous cell carcinoma": "SCC",
    "dermatofibroma": "DF",
    "vascular lesion": "VASC",
    "seborrheic keratosis": "BKL",
    "seborrheic_keratosis": "BKL",
    "lichenoid keratosis": "BKL",
    "solar lentigo": "BKL",
    "lentigo nos": "BKL",
    "cafe-au-lait macule": "unknown",
    "atypical melanocytic proliferation": "unknown",
    "unk": "unknown",
    # The ISIC Archive: old words, and levels 2 and 3 of its hierarchy. Squamous cell carcinoma in situ (Bowen) is SCC
    # as in ISIC 2019; of 157 such images HAM10000 has akiec, so AK.
    "malignant melanocytic proliferations (melanoma)": "melanoma",
    "melanoma in situ": "melanoma",
    "melanoma invasive": "melanoma",
    "melanoma metastasis": "melanoma",
    "melanoma, nos": "melanoma",
    "solar or actinic keratosis": "AK",
    "squamous cell carcinoma in situ": "SCC",
    "squamous cell carcinoma, invasive": "SCC",
    "squamous cell carcinoma, nos": "SCC",
    "lichen planus like keratosis": "BKL",
    "pigmented benign keratosis": "BKL",
    "benign soft tissue proliferations - vascular": "VASC",
    "angiokeratoma": "VASC",
    "angioma": "VASC",
    "hemangioma": "VASC",
    "pyogenic granuloma": "VASC",
    "aimp": "unknown",
    "atypical intraepithelial melanocytic proliferation": "unknown",
    "atypical melanocytic neoplasm": "unknown",
    **{name.lower(): name for name in DIAGNOSES},
}

_EXPECTED = {
    "image_name": "a name that stands once in the table",
    "sex": "one of female, male, or empty",
    "age_approx": f"a number of years from 0 to {MAX_AGE}, or empty",
    "anatom_site_general_challenge": f"one of {', '.join(SITES)}, or empty",
    "diagnosis": f"one of {', '.join(DIAGNOSES)} or a published synonym",
    "target": "0 (not melanoma) or 1 (melanoma)",
}


def _years(text: pd.Series) -> pd.Series:
    years = pd.to_numeric(text, errors="coerce")
    return text.isna() | years.between(0, MAX_AGE)


def _schema(has_target: bool, required: Collection[str]) -> pa.DataFrameSchema:
    import pandera.pandas as pa

    def one_of(name: str, values: tuple[str, ...]) -> pa.Column:
        check = pa.Check(lambda text: text.isna() | text.isin(values), error=_EXPECTED[name])
        return pa.Column(None, check, required=False, nullable=True)

    columns = {
        "image_name": pa.Column(None, unique=True, report_duplicates="exclude_first"),
        "sex": one_of("sex", SEXES),
        "age_approx": pa.Column(None, pa.Check(_years, error=_EXPECTED["age_approx"]), required=False, nullable=True),
        "anatom_site_general_challenge": one_of("anatom_site_general_challenge", SITES),
        "diagnosis": one_of("diagnosis", DIAGNOSES),
    }
    for name in required:
        columns.setdefault(name, pa.Column(None, nullable=True)).required = True
    if has_target:
        zero_one = pa.Check(lambda text: text.isin(("0", "1", "0.0", "1.0")), error=_EXPECTED["target"])
        columns["target"] = pa.Column(None, zero_one)
    return pa.DataFrameSchema(columns)


def find_problems(text: pd.DataFrame, *, has_target: bool, required: Collection[str] = ()) -> list[str]:
    """Every cell of a text table that is not in the vocabulary, one line each, in row order.

    Args:
        text: table of strings (missing = NaN), columns in the vocabulary, index = line number in the file.
        has_target: whether the table must have a `target` column.
        required: further columns that must be there, though values may be missing.
    """
    import pandera.pandas as pa

    try:
        _schema(has_target, required).validate(text, lazy=True)
    except pa.errors.SchemaErrors as failure:
        cases = failure.failure_cases
    else:
        return []
    missing_columns = cases.loc[cases["check"] == "column_in_dataframe", "failure_case"]
    problems = [
        f"column {name} is missing (also looked for {', '.join(ALIASES[name][1:]) or 'no other name'}); "
        f"the table has {', '.join(map(str, text.columns))}"
        for name in missing_columns
    ]
    cells = cases[cases["index"].notna() & cases["column"].isin(list(text.columns))]
    cells = cells.assign(line=cells["index"].astype(int)).sort_values(["line", "column"], kind="stable")
    for line, column, check in zip(cells["line"], cells["column"], cells["check"], strict=True):
        value = str(text.loc[line, column])
        if check == "field_uniqueness":
            first = text.index[text[column] == value][0]
            problems.append(f"row {line}, column {column}: {value!r} stands already in row {first}")
        elif pd.isna(text.loc[line, column]):
            problems.append(f"row {line}, column {column}: is empty; expected {_EXPECTED[column]}")
        else:
            problems.append(f"row {line}, column {column}: {value!r}; expected {_EXPECTED[column]}")
    return problems


def to_records(
    text: pd.DataFrame, *, where: str, source: str | pd.Series, has_target: bool, required: Collection[str] = ()
) -> pd.DataFrame:
    """Check a text table as a whole and give it types.

    Args:
        text: as for `find_problems`.
        where: file name for messages.
        source: value of the `source` column; then the table's own is kept as `source_in_file`. Or (n,) text.
        has_target: training tables have a target, test tables do not.
        required: further columns that must be there.

    Returns:
        Table with the columns of `COLUMNS` first, then the table's own further columns. `age_approx` float64,
        `target` Int8 (missing in a test table), everything else text with NaN for missing.

    Raises:
        TableError: all problems of the table, by row and column.
    """
    problems = find_problems(text, has_target=has_target, required=required)
    problems += _contradictions(text, has_target)
    if problems:
        raise TableError(where, problems, "Rows are counted as lines of the file; the header is line 1.")
    blank = pd.Series(float("nan"), index=text.index, dtype="object")
    frame = pd.DataFrame(index=text.index)
    for name in COLUMNS:
        values = text[name].astype("object") if name in text else blank
        if name == "age_approx":
            frame[name] = pd.to_numeric(values, errors="coerce").astype("float64")
        elif name == "target":
            numbers = values if has_target else blank
            frame[name] = pd.to_numeric(numbers).astype("Float64").astype("Int8")
        elif name == "source":
            frame[name] = pd.Series(source, index=text.index, dtype="str")
        else:
            frame[name] = values.astype("str")
    if "source" in text and isinstance(source, str):
        frame[free_name("source", text)] = text["source"]
    for name in text.columns:
        if name not in COLUMNS:
            frame[name] = text[name]
    return frame.reset_index(drop=True)


def free_name(name: str, text: pd.DataFrame) -> str:
    """The name with `_in_file` behind it, as often as the table needs."""
    while name in text:
        name += "_in_file"
    return name


def _contradictions(text: pd.DataFrame, has_target: bool) -> list[str]:
    if not has_target or "target" not in text or "benign_malignant" not in text:
        return []
    says = text["benign_malignant"].str.lower()
    wrong = ((says == "malignant") & text["target"].isin(("0", "0.0"))) | (
        (says == "benign") & text["target"].isin(("1", "1.0"))
    )
    pairs = text.loc[wrong, ["target", "benign_malignant"]]
    return [
        f"row {line}: target {target} contradicts benign_malignant {word!r}"
        for line, target, word in zip(pairs.index, pairs["target"], pairs["benign_malignant"], strict=True)
    ]
