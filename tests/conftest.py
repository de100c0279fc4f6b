"""Shared synthetic data: painted once for all tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    """A folder in the Kaggle layout: about 400 training images of 32 pixels."""
    root = tmp_path_factory.mktemp("synthetic")
    make_siim_isic(root, n_patients=80, n_test_patients=6, image_size=32, prevalence=0.2, seed=1)
    return root


@pytest.fixture(scope="session")
def folded(synthetic_root):
    """The training records in three patient-grouped folds."""
    return mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 3)
