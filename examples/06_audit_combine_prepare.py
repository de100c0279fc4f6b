"""From raw folders to training: audit, combine two data sets, shrink the images once, train on the shards.

python examples/06_audit_combine_prepare.py                                  # synthetic data
python examples/06_audit_combine_prepare.py --data siim-isic-2020/ --out prepared/ --image-size 512
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


def main():
    """Audit, drop duplicates, combine, prepare, look at a batch, train a small model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with train.csv and jpeg/train; synthetic data without it")
    parser.add_argument("--out", help="folder for the shards; a temporary folder without it")
    parser.add_argument("--image-size", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(options.data or folder)
        if options.data is None:
            make_siim_isic(root, n_patients=80)
        data = mf.assign_folds(mf.load_siim_isic_2020(root), n_folds=2)

        audit = mf.audit(data)
        print(audit)
        if len(audit.duplicates):
            data = mf.drop_duplicates(data, audit.duplicates, on_conflict="drop")

        # Two data sets in one vocabulary: here halves of one, by patient; the same image twice would be an error.
        own = mf.Dataset(data.select(data.frame["fold"] == 0).frame.assign(source="own-clinic"))
        both = mf.concat([data.select(data.frame["fold"] == 1), own], on_overlap="error")
        both = mf.assign_folds(both, n_folds=2)

        out = Path(options.out or Path(folder) / "prepared")
        prepared = mf.prepare(both, out, image_size=options.image_size)
        print(f"{prepared.records:,} images in {len(prepared.shards)} shards, {prepared.bytes / 1e6:.1f} MB")
        data = mf.load_prepared(out)

        train, held_out = data.held_out(0)
        encoder = mf.MetadataEncoder().fit(train.frame)
        spec = mf.image_spec(data, 32)  # knows how the shards were made, so a raw file is served in the same way
        batches = mf.training_pipeline(
            train, encoder, spec, augmentation="medium", mixup=0.2, source_weights={"own-clinic": 0.5}
        )
        inputs, _, weights = next(iter(batches))
        print(f"a batch: images {inputs['image'].shape}, metadata {inputs['metadata'].shape}, weights {weights.shape}")
        first = str(held_out.image_names[0])
        raw = both.frame.set_index("image_name").loc[first, "path"]
        shard = held_out.frame["path"].iloc[0]
        assert np.array_equal(spec.load(raw), spec.load(shard))
        print("the raw file and its row in the shard give the same pixels")

        recipe = mf.get_recipe("tiny").replace(epochs=2, source_weights={"own-clinic": 0.5})
        cv = mf.cross_validate(recipe, data, out=Path(folder) / "run")
        print(f"OOF AUC {mf.auc_interval(cv.oof)}")


if __name__ == "__main__":
    main()
