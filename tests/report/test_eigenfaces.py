"""Eigenfaces against scikit-learn's PCA; clusters of no, one, two and equal faces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from facetools.report import eigenfaces
from facetools.report.eigenfaces import Eigenface, ImageSpool

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices are quickest on one thread, the more so where other work shares the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def faces(n: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Pictures with a few strong directions, as faces have, and noise, uint8 (n, *shape)."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(6, int(np.prod(shape))))
    strengths = 30 * 0.6 ** np.arange(6)
    pictures = 128 + rng.normal(size=(n, 6)) * strengths @ directions + rng.normal(0, 3, (n, directions.shape[1]))
    return np.rint(pictures.clip(0, 255)).astype(np.uint8).reshape(n, *shape)


def of_clusters(
    pictures: np.ndarray, cluster: np.ndarray, components: int, order: np.ndarray | None = None
) -> list[Eigenface]:
    counts = np.bincount(cluster)
    with ImageSpool(counts, pictures.shape[1:]) as spool:
        for row in range(len(pictures)) if order is None else order:
            spool.add(cluster[row], pictures[row])
        return list(eigenfaces.compute_eigenfaces(spool, range(len(counts)), components, device=CPU))


def assert_is_pca(found: Eigenface, pictures: np.ndarray, components: int) -> None:
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)
    pca = PCA(components, svd_solver="full").fit(rows)
    assert found.faces == len(pictures)
    np.testing.assert_array_equal(found.mean, pictures.sum(0, dtype=np.int64) / len(rows))
    assert found.components.shape == (components, *pictures.shape[1:])
    directions = found.components.reshape(components, -1)
    np.testing.assert_allclose(directions @ directions.T, np.eye(components), atol=1e-9)
    assert np.abs((directions * pca.components_).sum(1)).min() > 1 - 1e-6
    np.testing.assert_allclose(found.explained_variance, pca.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(found.explained_variance_ratio, pca.explained_variance_ratio_, rtol=1e-6)
    largest = np.abs(directions).argmax(1)
    assert (directions[np.arange(components), largest] > 0).all()


@pytest.mark.parametrize(
    ("n", "shape", "components"),
    [
        (700, (6, 5, 3), 8),  # more faces than pixels, several chunks
        (60, (24, 20, 3), 8),  # fewer faces than pixels
        (257, (16, 16, 1), 16),  # gray; one face in the last chunk
        (40, (3, 2, 1), 6),  # as many components as pixels
        (9, (12, 10, 3), 8),  # as many as there can be
    ],
)
def test_agrees_with_scikit_learn(n: int, shape: tuple[int, int, int], components: int) -> None:
    pictures = faces(n, shape)
    (found,) = of_clusters(pictures, np.zeros(n, np.int64), components)
    assert found.cluster == 0
    assert_is_pca(found, pictures, components)


def test_pictures_without_a_strong_direction() -> None:
    """Pure noise, the hardest case for an iteration: neighbouring eigenvalues are nearly equal."""
    pictures = np.random.default_rng(0).integers(0, 256, (300, 16, 12, 1), np.uint8)
    (found,) = of_clusters(pictures, np.zeros(300, np.int64), 5)
    assert_is_pca(found, pictures, 5)


def test_many_pixels_of_noise_reach_the_residual_that_is_promised() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (1000, 30, 30, 1), np.uint8)
    (found,) = of_clusters(pictures, np.zeros(1000, np.int64), 2)
    centred = pictures.reshape(1000, -1) - found.mean.ravel()
    for direction, variance in zip(found.components.reshape(2, -1), found.explained_variance, strict=True):
        residual = centred.T @ (centred @ direction) / 999 - variance * direction
        assert np.linalg.norm(residual) <= 1.01e-7 * found.explained_variance[0]


def test_each_cluster_on_its_own() -> None:
    pictures = faces(500, (10, 8, 3))
    cluster = np.random.default_rng(0).choice([0, 1, 3], 500, p=[0.6, 0.3, 0.1])
    found = of_clusters(pictures, cluster, 4)
    assert [face.cluster for face in found] == [0, 1, 3]  # none of cluster 2, which is empty
    for face in found:
        assert_is_pca(face, pictures[cluster == face.cluster], 4)


def test_only_the_clusters_asked_for_in_their_order() -> None:
    pictures, cluster = faces(9, (4, 4, 1)), np.repeat([0, 1, 2], 3)
    with ImageSpool(np.bincount(cluster), (4, 4, 1)) as spool:
        for number, picture in zip(cluster, pictures, strict=True):
            spool.add(number, picture)
        assert [face.cluster for face in eigenfaces.compute_eigenfaces(spool, [2, 0], 1, device=CPU)] == [2, 0]


def test_one_face_has_a_mean_alone() -> None:
    pictures = faces(1, (5, 4, 3))
    (found,) = of_clusters(pictures, np.zeros(1, np.int64), 3)
    np.testing.assert_array_equal(found.mean, pictures[0])
    assert found.components.shape == (0, 5, 4, 3)
    assert found.explained_variance.shape == found.explained_variance_ratio.shape == (0,)


def test_two_faces_differ_in_one_direction() -> None:
    pictures = faces(2, (5, 4, 3))
    (found,) = of_clusters(pictures, np.zeros(2, np.int64), 3)
    assert found.components.shape == (1, 5, 4, 3)
    difference = pictures[0].astype(float) - pictures[1]
    np.testing.assert_allclose(found.explained_variance, [(difference**2).sum() / 2], rtol=1e-12)
    np.testing.assert_allclose(found.explained_variance_ratio, [1], rtol=1e-12)
    assert abs((found.components[0] * difference).sum()) == pytest.approx(np.linalg.norm(difference))


@pytest.mark.parametrize("n", [2, 7, 300])
def test_equal_faces_have_no_components(n: int) -> None:
    pictures = np.repeat(faces(1, (5, 4, 3), seed=n), n, axis=0)
    (found,) = of_clusters(pictures, np.zeros(n, np.int64), 3)
    np.testing.assert_array_equal(found.mean, pictures[0])
    assert len(found.components) == len(found.explained_variance) == 0


def test_no_more_components_than_the_faces_span() -> None:
    """Ten faces, but two pictures only."""
    pictures = np.repeat(faces(2, (5, 4, 3)), [3, 7], axis=0)
    (found,) = of_clusters(pictures, np.zeros(10, np.int64), 5)
    assert_is_pca(found, pictures, 1)


def test_a_single_grey_level_in_a_single_pixel() -> None:
    pictures = np.full((1000, 40, 40, 3), 200, np.uint8)
    pictures[3, 7, 9, 2] = 201
    (found,) = of_clusters(pictures, np.zeros(1000, np.int64), 3)
    assert found.components.shape[0] == 1
    assert found.components[0, 7, 9, 2] == pytest.approx(1)
    np.testing.assert_allclose(found.explained_variance, [1 / 1000], rtol=1e-4)


def test_the_order_of_the_faces_does_not_matter() -> None:
    pictures, cluster = faces(600, (8, 8, 1)), np.repeat([0, 1], 300)
    first = of_clusters(pictures, cluster, 3)
    second = of_clusters(pictures, cluster, 3, order=np.random.default_rng(0).permutation(600))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_allclose(one.components, other.components, atol=1e-6)
        np.testing.assert_allclose(one.explained_variance, other.explained_variance, rtol=1e-9)


def test_the_spool_gives_back_what_it_was_given() -> None:
    pictures, cluster = faces(600, (3, 4, 3)), np.random.default_rng(0).integers(0, 2, 600)
    with ImageSpool(np.bincount(cluster), (3, 4, 3)) as spool:
        for number, picture in zip(cluster, pictures, strict=True):
            spool.add(number, picture.transpose(1, 0, 2).copy().transpose(1, 0, 2))  # not contiguous
        for number in (0, 1):
            chunks = list(spool.chunks(number))
            assert spool.count(number) == (cluster == number).sum()
            assert max(map(len, chunks)) <= eigenfaces.CHUNK_IMAGES
            np.testing.assert_array_equal(np.concatenate(chunks), pictures[cluster == number].reshape(-1, 36))


def test_a_disk_too_small_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigenfaces.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=rf"GB are needed in {tmp_path}, .* set TMPDIR to a larger disk, or"):
        ImageSpool(np.array([10**12]), (1000, 1000, 3))
    assert list(tmp_path.iterdir()) == []


def test_picture() -> None:
    component = np.array([[[-0.5], [0.0]], [[0.25], [1.0]]])
    assert eigenfaces.eigenface_picture(component)[:, :, 0].tolist() == [[64, 128], [159, 255]]
    assert (eigenfaces.eigenface_picture(np.zeros((2, 2, 3))) == 128).all()
