"""What must hold on the real data when years and sources are combined.

python .ci/real_combine.py ROOT     # ROOT/data/siim-isic-2020, isic-2019, ham10000, isic-archive-fullres
"""

import sys
import time
from pathlib import Path

import melanomafusion as mf
from melanomafusion.data.groups import group_keys

# ISIC 2019's eight classes, and SIIM 2020's words in the nine.
ISIC_2019 = {
    "melanoma": 4522,
    "nevus": 12875,
    "BCC": 3323,
    "AK": 867,
    "BKL": 2624,
    "DF": 239,
    "VASC": 253,
    "SCC": 628,
}
SIIM_2020 = {"melanoma": 584, "nevus": 5193, "BKL": 135 + 44 + 37 + 7, "unknown": 27124 + 1 + 1}


def load(data):
    """ISIC 2019, SIIM 2020 (second truth, with lesions) and HAM10000, tables alone."""
    return {
        "isic-2019": mf.load_isic_2019(data / "isic-2019", with_images=False),
        "siim-isic-2020": mf.load_siim_isic_2020(
            data / "siim-isic-2020" / "ISIC_2020_Training_GroundTruth_v2.csv", with_images=False
        ),
        "ham10000": mf.load_ham10000(data / "ham10000", with_images=False),
    }


def years(data):
    """ISIC 2019 and SIIM 2020 share no image and add up in nine classes."""
    sets = load(data)
    assert mf.find_overlaps([sets["isic-2019"], sets["siim-isic-2020"]]).empty
    both = mf.concat([sets["isic-2019"], sets["siim-isic-2020"]])
    expected = {name: ISIC_2019.get(name, 0) + SIIM_2020.get(name, 0) for name in ISIC_2019 | SIIM_2020}
    found = both.frame["diagnosis"].value_counts().to_dict()
    assert found == expected, (found, expected)
    assert int(both.targets.sum()) == 4522 + 584
    folds = mf.assign_folds(both, 5).frame
    assert folds["grouped_by"].unique().tolist() == ["lesion + patient"]
    assert folds[folds["patient_id"].notna()].groupby("patient_id")["fold"].nunique().max() == 1
    assert folds[folds["patient_id"].isna()].groupby("lesion_id")["fold"].nunique().max() == 1
    print(f"ISIC 2019 + SIIM-ISIC 2020: {len(both):,} records, no image in both, classes {found}")


def ham10000_in_isic_2019(data):
    """All of HAM10000 is in ISIC 2019; either order keeps each image once, and lesions stay whole."""
    sets = load(data)
    ham, isic = sets["ham10000"], sets["isic-2019"]
    overlaps = mf.find_overlaps([isic, ham])
    assert len(overlaps) == 8026
    assert (overlaps["by"] == "name").all()
    assert overlaps["same_lesion"].all()
    assert overlaps["same_target"].all()
    differ = overlaps[~overlaps["same_diagnosis"]]
    print(f"HAM10000 in ISIC 2019: {len(overlaps):,} by name, lesions and targets agree, {len(differ)} akiec are SCC")
    message = ""
    try:
        mf.concat([isic, ham])
    except mf.MelanomaFusionError as error:
        message = str(error)
    assert "8,026 images of ham10000 are in isic-2019 too" in message, "the overlap was not refused"
    groups = {}
    for order in ([isic, ham], [ham, isic]):
        both = mf.concat(order, on_overlap="first")
        assert len(both) == 25331
        assert int((both.frame["source"] == order[0].name).sum()) == len(order[0])
        keys = group_keys(both)[0]
        images = both.frame["image_name"].str.lower().str.removesuffix("_downsampled")
        groups[order[0].name] = {frozenset(names) for _, names in images.groupby(keys)}
        folds = mf.assign_folds(both, 5).frame
        assert folds.groupby("lesion_id")["fold"].nunique().max() == 1
    assert groups["isic-2019"] == groups["ham10000"]
    print(f"  kept once in either order: 25,331 records, {len(groups['ham10000']):,} groups, the same")


def lesions_on_both_sides(data):
    """Copies with other images of the same lesions: without a shared id space they would be torn apart."""
    sets = load(data)
    ham, isic = sets["ham10000"], sets["isic-2019"]
    number = isic.frame["image_name"].str.extract(r"(\d+)")[0].astype(int)
    in_ham = isic.frame["image_name"].isin(ham.image_names)
    # Of HAM10000's images ISIC 2019 has here two thirds, and HAM10000 another two thirds.
    fewer_isic = isic.select((~in_ham | (number % 3 != 0)).to_numpy())
    fewer_ham = ham.select((ham.frame["image_name"].str.extract(r"(\d+)")[0].astype(int) % 3 != 1).to_numpy())
    both = mf.concat([fewer_isic, fewer_ham], on_overlap="first")
    folds = mf.assign_folds(both, 5).frame
    per_lesion = folds[folds["lesion_id"].notna()].groupby("lesion_id")
    shared = int((per_lesion["source"].nunique() > 1).sum())
    assert shared > 500
    assert per_lesion["fold"].nunique().max() == 1
    print(f"  thinned copies: {shared:,} lesions with images in both sources, none in two folds")


def archive(data):
    """The export loads, and most of it is in ISIC 2019 under names with _downsampled."""
    export = mf.load_isic_archive(data / "isic-archive-fullres")
    assert (len(export), int(export.targets.sum())) == (24, 4)
    isic = load(data)["isic-2019"]
    overlaps = mf.find_overlaps([export, isic])
    assert overlaps["same_target"].all()
    both = mf.concat([export, isic], on_overlap="first")
    assert len(both) == 25331 + 24 - len(overlaps)
    print(f"ISIC Archive export: {len(export)} images, {len(overlaps)} of them in ISIC 2019")


def main():
    """Run all checks; a missing folder is a failure."""
    data = Path(sys.argv[1]) / "data"
    for name in ("siim-isic-2020", "isic-2019", "ham10000", "isic-archive-fullres"):
        if not (data / name).exists():
            raise SystemExit(f"{data / name} is missing: the checks on real data cannot be run")
    for check in (years, ham10000_in_isic_2019, lesions_on_both_sides, archive):
        started = time.monotonic()
        check(data)
        print(f"  {check.__name__}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
