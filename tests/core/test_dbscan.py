"""DBSCAN of distinct codes against scikit-learn on all rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from facetools.clustering import codes
from tests.core.cases import Faces, faces_strategy, random_faces, repeat_codes


@settings(max_examples=80, deadline=None)
@given(faces=faces_strategy(), radius=st.sampled_from([0, 1, 2, 3, 5, 8, 256]), min_samples=st.integers(1, 9))
def test_labels_equal_those_of_scikit_learn_on_all_rows(faces: Faces, radius: int, min_samples: int) -> None:
    model = DBSCAN(eps=radius + 0.5, min_samples=min_samples, metric="manhattan", algorithm="brute")
    expected = model.fit_predict(faces.rows.astype(float))
    for threads in (1, 2, 7):
        labels = codes.dbscan(faces.codes, faces.counts, radius, min_samples, threads=threads)
        np.testing.assert_array_equal(labels[faces.inverse], expected)


@pytest.mark.parametrize(("radius", "min_samples"), [(0, 3), (1, 1), (1, 4), (2, 6), (4, 30)])
def test_counts_are_equivalent_to_repeated_rows(radius: int, min_samples: int) -> None:
    """With so many codes, neighbors within radius 0 and 1 are looked up in a hash table, others found by popcounts."""
    faces = random_faces(20_000, 20, seed=3)
    assert len(faces.counts) > 128 * 21
    labels = codes.dbscan(faces.codes, faces.counts, radius, min_samples)
    assert labels.max() > 0 or radius > 1
    np.testing.assert_array_equal(labels[faces.inverse], codes.dbscan(*repeat_codes(faces), radius, min_samples))


def test_large_counts_and_no_rows_are_supported() -> None:
    three_codes = np.array([0b0, 0b11, 0b111], np.uint64)
    counts = np.array([2**38, 2**33, 1])
    np.testing.assert_array_equal(codes.dbscan(three_codes, counts, 1, 2**37), [0, -1, -1])
    np.testing.assert_array_equal(codes.dbscan(three_codes, counts, 1, 2**33), [0, 1, 1])
    assert codes.dbscan(three_codes[:0], counts[:0], 1, 1).shape == (0,)


def test_invalid_arguments_are_rejected() -> None:
    faces = random_faces(10, 37, seed=1)
    with pytest.raises(ValueError, match=r"^radius: must not be negative"):
        codes.dbscan(faces.codes, faces.counts, -1, 1)
    with pytest.raises(ValueError, match=r"^min_samples: "):
        codes.dbscan(faces.codes, faces.counts, 1, 0)
    with pytest.raises(ValueError, match=r"^counts: "):
        codes.dbscan(faces.codes, faces.counts[1:], 1, 1)
