"""DBSCAN against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from facetools.clustering import codes
from tests.core.cases import Faces, drawn_faces, repeated, some_faces


@settings(max_examples=80, deadline=None)
@given(faces=some_faces(), radius=st.sampled_from([0, 1, 2, 3, 5, 8, 256]), min_samples=st.integers(1, 9))
def test_labels_are_those_of_scikit_learn_on_all_rows(faces: Faces, radius: int, min_samples: int) -> None:
    peer = DBSCAN(eps=radius + 0.5, min_samples=min_samples, metric="manhattan", algorithm="brute")
    expected = peer.fit_predict(faces.rows.astype(float))
    for threads in (1, 2, 7):
        labels = codes.dbscan(faces.codes, faces.counts, radius, min_samples, threads=threads)
        np.testing.assert_array_equal(labels[faces.inverse], expected)


@pytest.mark.parametrize(("radius", "min_samples"), [(0, 3), (1, 1), (1, 4), (2, 6), (4, 30)])
def test_a_count_is_as_many_rows(radius: int, min_samples: int) -> None:
    """There are codes enough for radius 0 and 1 to be looked up; neighbours at 2 and 4 are found by popcounts."""
    faces = drawn_faces(20_000, 20, seed=3)
    assert len(faces.counts) > 128 * 21
    labels = codes.dbscan(faces.codes, faces.counts, radius, min_samples)
    assert labels.max() > 0 or radius > 1
    np.testing.assert_array_equal(labels[faces.inverse], codes.dbscan(*repeated(faces), radius, min_samples))


def test_large_counts_and_no_rows() -> None:
    two = np.array([0b0, 0b11, 0b111], np.uint64)
    counts = np.array([2**38, 2**33, 1])
    np.testing.assert_array_equal(codes.dbscan(two, counts, 1, 2**37), [0, -1, -1])
    np.testing.assert_array_equal(codes.dbscan(two, counts, 1, 2**33), [0, 1, 1])
    assert codes.dbscan(two[:0], counts[:0], 1, 1).shape == (0,)


def test_bad_input_is_refused() -> None:
    faces = drawn_faces(10, 37, seed=1)
    with pytest.raises(ValueError, match="radius: -1"):
        codes.dbscan(faces.codes, faces.counts, -1, 1)
    with pytest.raises(ValueError, match="min_samples: below 1"):
        codes.dbscan(faces.codes, faces.counts, 1, 0)
    with pytest.raises(ValueError, match="counts: not as many"):
        codes.dbscan(faces.codes, faces.counts[1:], 1, 1)
