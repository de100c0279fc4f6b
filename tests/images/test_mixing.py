"""Mixup and CutMix: the mixed record costs what its two records cost, and shows what it says."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import RecipeError
from melanomafusion.images.mixing import Mixing

SIZE = 16
BATCHES = st.tuples(st.integers(2, 12), st.integers(0, 2**32 - 1))
KINDS = [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(mixup=1.0, cutmix=0.3)]


def mixed(mixing, labels, weights, seed):
    """A mixed batch whose metadata are one column per record, so that they tell share and partner of each record.

    Returns images, labels, weights; shares (B, B): row i holds λ at i and 1 − λ at the partner of i.
    """
    count = len(labels)
    images = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, SIZE, SIZE, 3)).copy()
    images, shares, labels, weights = mixing.mix(
        images, np.eye(count, dtype="float32"), labels, weights, np.random.default_rng(seed)
    )
    return images, labels, weights, shares


def drawn(count, seed, classes=1):
    """Labels (0 and 1, or one-hot), weights and logits of a batch."""
    rng = np.random.default_rng((seed, count))
    labels = (
        rng.integers(2, size=(count, 1)).astype("float32")
        if classes == 1
        else np.eye(classes, dtype="float32")[rng.integers(classes, size=count)]
    )
    return labels, rng.uniform(0.1, 8, count).astype("float32"), rng.normal(size=(count, classes), scale=3)


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
@settings(deadline=None, max_examples=12)
@given(batch=BATCHES, classes=st.sampled_from([1, 4]))
def test_a_mixed_record_costs_the_shares_of_its_two_records(mixing, batch, classes):
    labels, weights, logits = drawn(*batch, classes)
    _, new_labels, new_weights, shares = mixed(mixing, labels, weights, batch[1])
    kind = keras.losses.BinaryCrossentropy if classes == 1 else keras.losses.CategoricalCrossentropy
    loss = kind(from_logits=True, reduction="none")
    # Entry (i, j): the loss of record i's logits had it the label of record j.
    each = np.stack(
        [np.asarray(loss(np.broadcast_to(label, logits.shape).astype("float32"), logits)) for label in labels], axis=1
    )
    wanted = (shares * weights * each).sum(axis=1)
    found = new_weights * np.asarray(loss(new_labels, logits))
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose(new_weights, shares @ weights, rtol=1e-5)


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
@settings(deadline=None, max_examples=12)
@given(batch=BATCHES, classes=st.sampled_from([1, 4]))
def test_mixed_values_keep_shape_type_and_range(mixing, batch, classes):
    labels, weights, _ = drawn(*batch, classes)
    images, new_labels, new_weights, shares = mixed(mixing, labels, weights, batch[1])
    assert images.shape == (len(labels), SIZE, SIZE, 3)
    assert new_labels.shape == labels.shape
    assert new_weights.shape == weights.shape
    assert {a.dtype for a in (images, new_labels, new_weights, shares)} == {np.dtype("float32")}
    assert new_labels.min() >= 0
    assert new_labels.max() <= 1 + 1e-6
    if classes > 1:
        np.testing.assert_allclose(new_labels.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert ((shares > 0).sum(axis=1) <= 2).all()
    assert images.min() >= 0
    assert images.max() <= len(labels) - 1 + 1e-3


@settings(deadline=None, max_examples=40)
@given(batch=BATCHES)
def test_mixup_shows_both_images_by_their_shares(batch):
    labels, weights, _ = drawn(*batch)
    images, _, _, shares = mixed(Mixing(mixup=0.8), labels, weights, batch[1])
    wanted = shares @ np.arange(len(labels))
    np.testing.assert_allclose(images, np.broadcast_to(wanted[:, None, None, None], images.shape), atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(batch=BATCHES)
def test_the_share_of_cutmix_is_exact_to_the_pixel(batch):
    labels, weights, _ = drawn(*batch)
    images, _, _, shares = mixed(Mixing(cutmix=1.0), labels, weights, batch[1])
    for row, image in enumerate(images):
        np.testing.assert_array_equal(image, np.broadcast_to(image[..., :1], image.shape))
        seen = np.bincount(image[..., 0].astype(int).ravel(), minlength=len(labels)) / SIZE**2
        np.testing.assert_allclose(shares[row], seen, atol=1e-7)
        given_part = image[..., 0] != row
        if given_part.any():  # one rectangle, of one other record
            assert len(np.unique(image[..., 0][given_part])) == 1
            rows, columns = np.flatnonzero(given_part.any(axis=1)), np.flatnonzero(given_part.any(axis=0))
            assert given_part.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert np.ptp(rows) == np.ptp(columns)  # the shape of the image, here a square


def test_cutmix_takes_the_same_place_of_the_other_image():
    count = 6
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype("float32")
    images, shares, *_ = Mixing(cutmix=1.0).mix(
        before.copy(), np.eye(count, dtype="float32"), np.zeros((count, 1), "float32"), np.ones(count, "float32"), rng
    )
    for row in range(count):
        partners = [partner for partner in np.flatnonzero(shares[row]) if partner != row]
        own = (images[row] == before[row]).all(axis=-1)
        others = [(images[row] == before[partner]).all(axis=-1) for partner in partners]
        assert np.logical_or.reduce([own, *others]).all()


def test_rectangles_of_cutmix_lie_anywhere():
    ones = np.ones(8, dtype="float32")
    covered = np.zeros((SIZE, SIZE))
    for seed in range(150):
        images, *_ = mixed(Mixing(cutmix=1.0), ones[:, None], ones, seed)
        covered += (images[..., 0] != np.arange(8)[:, None, None]).sum(axis=0)
    assert covered.min() > 0.1 * covered.max()
    np.testing.assert_allclose(covered, covered[::-1], atol=0.3 * covered.max())


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
def test_the_total_weight_is_preserved_in_the_mean(mixing):
    weights = np.array([1, 1, 1, 1, 20, 5, 1, 2], dtype="float32")
    labels = (weights > 1).astype("float32")[:, None]
    totals, positive = [], []
    for seed in range(600):
        _, new_labels, new_weights, _ = mixed(mixing, labels, weights, seed)
        totals.append(new_weights.sum())
        positive.append((new_weights * new_labels[:, 0]).sum())
    # Class weights keep their meaning: each class keeps its part of the whole.
    for values, wanted in ((totals, weights.sum()), (positive, (weights * labels[:, 0]).sum())):
        assert np.mean(values) == pytest.approx(wanted, abs=4 * np.std(values) / np.sqrt(600) + 0.03 * wanted)


@pytest.mark.parametrize(("kind", "alpha"), [("mixup", 0.2), ("mixup", 1), ("mixup", 5), ("cutmix", 1), ("cutmix", 5)])
def test_shares_are_those_of_the_beta_distribution(kind, alpha):
    ones = np.ones(12, dtype="float32")
    shares = []
    for seed in range(120):
        own = np.diag(mixed(Mixing(**{kind: alpha}), ones[:, None], ones, seed)[3])
        shares.append(own[own < 1])
    shares = np.concatenate(shares)
    # A partner may be the record itself, and a small rectangle may round to none: shares of 1 are left out.
    assert shares.std() == pytest.approx(np.sqrt(1 / (4 * (2 * alpha + 1))), rel=0.15)
    assert shares.mean() == pytest.approx(0.5, abs=0.06)


def test_each_record_is_given_once():
    ones = np.ones(10, dtype="float32")
    for seed in range(20):
        shares = mixed(Mixing(mixup=1.0), ones[:, None], ones, seed)[3]
        given_away = shares - np.diag(np.diag(shares))
        assert ((given_away > 0).sum(axis=0) <= 1).all()


def test_both_kinds_are_taken_equally_often():
    ones = np.ones(6, dtype="float32")
    cut = 0
    for seed in range(300):
        images = mixed(Mixing(mixup=1.0, cutmix=1.0), ones[:, None], ones, seed)[0]
        cut += bool((images == images.round()).all())
    assert abs(cut - 150) < 45  # deviation 9


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
def test_the_same_chance_mixes_the_same_way(mixing):
    labels, weights, _ = drawn(7, 0)
    first, again = (mixed(mixing, labels, weights, 3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], mixed(mixing, labels, weights, 4)[0])


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
def test_labels_weights_and_metadata_that_were_given_are_not_touched(mixing):
    labels, weights, _ = drawn(7, 0)
    metadata = np.eye(7, dtype="float32")
    for array in (labels, weights, metadata):
        array.flags.writeable = False
    mixing.mix(np.zeros((7, SIZE, SIZE, 3), "float32"), metadata, labels, weights, np.random.default_rng(0))


@pytest.mark.parametrize("mixing", KINDS, ids=repr)
def test_a_batch_of_one_is_unchanged(mixing):
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3)).astype("float32")
    metadata, label, weight = np.array([[0.5, 1, 0]], "float32"), np.ones((1, 1), "float32"), np.array([3], "float32")
    result = mixing.mix(image.copy(), metadata, label, weight, np.random.default_rng(0))
    for found, wanted in zip(result, (image, metadata, label, weight), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("alpha", [1e-12, 1e-3, 1e5])
def test_extreme_shares_are_numbers(alpha):
    labels, weights, _ = drawn(8, 0)
    for seed in range(20):
        for mixing in (Mixing(mixup=alpha), Mixing(cutmix=alpha)):
            assert all(np.isfinite(array).all() for array in mixed(mixing, labels, weights, seed))


def test_metadata_alone_are_mixed_without_images():
    labels, weights, _ = drawn(6, 0)
    images, metadata, *_ = Mixing(mixup=1.0).mix(
        np.zeros(0, "float32"), np.eye(6, dtype="float32"), labels, weights, np.random.default_rng(0)
    )
    assert images.shape == (0,)
    np.testing.assert_allclose(metadata.sum(axis=1), 1, atol=1e-6)
    assert metadata.max() < 1


@pytest.mark.parametrize(("fields", "some"), [({}, False), ({"mixup": 0.1}, True), ({"cutmix": 0.1}, True)])
def test_mixing_is_true_where_it_mixes(fields, some):
    assert bool(Mixing(**fields)) is some


@pytest.mark.parametrize("fields", [{"mixup": -0.1}, {"cutmix": -1}, {"mixup": 1.0, "cutmix": -1e-9}])
def test_negative_parameters_are_refused(fields):
    with pytest.raises(RecipeError, match=r"at least 0\. Received: "):
        Mixing(**fields)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.2", None])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_parameters_that_are_no_finite_number_are_refused(name, value):
    with pytest.raises(RecipeError, match="Received"):
        Mixing(**{name: value})
