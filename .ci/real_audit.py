"""What the audit must find on the real data: official and byte-identical pairs, lesions on both sides, leaky columns.

python .ci/real_audit.py ROOT     # ROOT/data/siim-isic-2020, ROOT/data/ham10000
"""

import sys
import time
from pathlib import Path

import pandas as pd

import melanomafusion as mf

# One photograph, and one lesion photographed twice, each under two lesion ids: looked at, they are no mistake of ours.
ONE_LESION_TWO_IDS = {("ISIC_0025226", "ISIC_0030074"), ("ISIC_0027027", "ISIC_0029036")}


def kinds(audit, level=None):
    """Kind → finding."""
    return {finding.kind: finding for finding in audit.findings if level in (None, finding.level)}


def flagged(audit):
    """Columns that are flagged, with the AUC each reaches alone."""
    tables = [kinds(audit)[kind].table for kind in ("leaky_columns", "leaky_features") if kind in kinds(audit)]
    return pd.concat(tables).set_index("column")["auc"]


def pairs(table):
    """The pairs of a table, each in the order of its names."""
    return {tuple(sorted(names)) for names in zip(table["image_name_1"], table["image_name_2"], strict=True)}


def siim_table(siim):
    """The 425 official pairs, each of one patient and one target; no leak stands."""
    path = siim / "ISIC_2020_Training_Duplicates.csv"
    assert all(check.holds for check in mf.verify_duplicates(path))
    data = mf.load_siim_isic_2020(siim, with_images=False)
    audit = mf.audit(data, images=False, duplicates=path)
    assert (audit.duplicates["how"] == "official").sum() == len(audit.duplicates) == 425
    assert audit.clean, str(audit)
    assert audit.duplicates["same_group"].all()
    assert not audit.duplicates["conflicts"].str.contains("target").any()
    kept = mf.drop_duplicates(data, audit.duplicates)
    print(
        f"SIIM-ISIC 2020: 425 official pairs, one patient and target each; {len(kept):,} of {len(data):,} records stay"
    )


def siim_sizes(siim):
    """Image size and images per patient are flagged; as features they are a leak."""
    data = mf.load_siim_isic_2020(siim, with_images=False)
    data = mf.read_competition_folds(data, siim / "image_sizes_and_tfrecord.csv", on_dropped="drop")
    auc = flagged(mf.audit(data, images=False))
    assert {"width", "height", "images_per_patient"} <= set(auc.index), auc
    assert auc["width"] > 0.7
    leak = mf.audit(data, images=False, features=("sex", "width", "height"))
    assert list(kinds(leak, "leak")) == ["leaky_features"]
    print(f"  alone: width {auc['width']:.3f}, height {auc['height']:.3f}, per patient {auc['images_per_patient']:.3f}")


def siim_images(siim):
    """Of the 926 images, the two byte-identical pairs, both on the official list."""
    data = mf.load_siim_isic_2020(siim, missing_images="drop")
    audit = mf.audit(data, duplicates=siim / "ISIC_2020_Training_Duplicates.csv")
    assert list(audit.duplicates["how"]) == ["official"] * 2, audit.duplicates
    assert audit.duplicates["same_bytes"].all()
    assert audit.clean, str(audit)
    print(f"  {len(data)} images: two byte-identical pairs, both on the list; no other pair is near")


def ham10000(root):
    """Image-level folds put lesions on both sides; lesion-grouped folds do not."""
    data = mf.load_ham10000(root)
    by_image = mf.assign_folds(data, group="record")
    finding = kinds(mf.audit(by_image, images=False), "leak")["lesion_in_several_folds"]
    folds = by_image.frame.groupby("lesion_id")["fold"].agg(["min", "max"])
    assert finding.count == (folds["min"] < folds["max"]).sum() > 1000
    print(f"HAM10000, image-level folds: {finding.title}")
    audit = mf.audit(mf.assign_folds(data))
    assert set(kinds(audit, "leak")) <= {"near_duplicates_apart"}, str(audit)
    assert pairs(audit.duplicates[audit.duplicates["leak"]]) <= ONE_LESION_TWO_IDS
    across = audit.duplicates[~audit.duplicates["same_group"]]
    assert pairs(across) == ONE_LESION_TWO_IDS, across
    how = audit.duplicates["how"].value_counts()
    kept = mf.drop_duplicates(data, audit.duplicates)
    left = set(kept.image_names)
    assert not [pair for pair in pairs(audit.duplicates) if set(pair) <= left]
    assert mf.audit(mf.assign_folds(kept), images=False).clean
    assert flagged(audit)["dx_type"] > 0.7
    print(
        f"  lesion-grouped: no lesion on both sides; {how['exact']} byte-identical and {how['near']} near pairs, "
        f"{len(across)} of them under two lesion ids, {len(kept):,} records stay without them; "
        f"dx_type alone {flagged(audit)['dx_type']:.3f}"
    )


def main():
    """Run all checks; a missing folder is a failure."""
    shared = Path(sys.argv[1])
    siim, ham = shared / "data" / "siim-isic-2020", shared / "data" / "ham10000"
    for path in (siim, ham):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    for check, folder in ((siim_table, siim), (siim_sizes, siim), (siim_images, siim), (ham10000, ham)):
        started = time.monotonic()
        check(folder)
        print(f"  {check.__name__}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
