"""Eigenfaces match scikit-learn's PCA, also for clusters with no, one, two or equal faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from facetools.report import eigenfaces
from facetools.report.eigenfaces import Eigenface, ImageSpool, compute_eigenfaces


def random_images(n: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Images with a few strong principal components, like faces, and noise: uint8 (n, *shape)."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(6, int(np.prod(shape))))
    strengths = 30 * 0.6 ** np.arange(6)
    images = 128 + rng.normal(size=(n, 6)) * strengths @ directions + rng.normal(0, 3, (n, directions.shape[1]))
    return np.rint(images.clip(0, 255)).astype(np.uint8).reshape(n, *shape)


def eigenfaces_of(
    images: np.ndarray, cluster: np.ndarray, components: int, order: np.ndarray | None = None
) -> list[Eigenface]:
    counts = np.bincount(cluster)
    with ImageSpool(counts, images.shape[1:]) as spool:
        for row in range(len(images)) if order is None else order:
            spool.add(cluster[row], images[row])
        return list(compute_eigenfaces(spool, range(len(counts)), components))


def assert_equals_pca(eigenface: Eigenface, images: np.ndarray, components: int) -> None:
    rows = images.reshape(len(images), -1).astype(np.float64)
    pca = PCA(components, svd_solver="full").fit(rows)
    assert eigenface.faces == len(images)
    np.testing.assert_array_equal(eigenface.mean, images.sum(0, dtype=np.int64) / len(rows))
    assert eigenface.components.shape == (components, *images.shape[1:])
    directions = eigenface.components.reshape(components, -1)
    np.testing.assert_allclose(directions @ directions.T, np.eye(components), atol=1e-9)
    assert np.abs((directions * pca.components_).sum(1)).min() > 1 - 1e-6
    np.testing.assert_allclose(eigenface.explained_variance, pca.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(eigenface.explained_variance_ratio, pca.explained_variance_ratio_, rtol=1e-6)
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
def test_components_and_variances_match_scikit_learn(n: int, shape: tuple[int, int, int], components: int) -> None:
    images = random_images(n, shape)
    (eigenface,) = eigenfaces_of(images, np.zeros(n, np.int64), components)
    assert eigenface.cluster == 0
    assert_equals_pca(eigenface, images, components)


@pytest.mark.parametrize("resident_bytes", [0, eigenfaces.RESIDENT_BYTES])
def test_pytorch_and_rereading_give_the_same_eigenfaces(resident_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigenfaces, "RESIDENT_BYTES", resident_bytes)
    images = random_images(700, (6, 5, 3))
    with ImageSpool(np.array([700]), images.shape[1:]) as spool:
        for image in images:
            spool.add(0, image)
        for device in (None, torch.device("cpu")):
            (eigenface,) = compute_eigenfaces(spool, [0], 8, device=device)
            assert_equals_pca(eigenface, images, 8)


def test_pure_noise_matches_scikit_learn() -> None:
    """Neighboring eigenvalues of noise are nearly equal, the hardest case for the iteration."""
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 12, 1), np.uint8)
    (eigenface,) = eigenfaces_of(images, np.zeros(300, np.int64), 5)
    assert_equals_pca(eigenface, images, 5)


def test_residuals_are_within_the_documented_tolerance() -> None:
    images = np.random.default_rng(1).integers(0, 256, (1000, 30, 30, 1), np.uint8)
    (eigenface,) = eigenfaces_of(images, np.zeros(1000, np.int64), 2)
    centered = images.reshape(1000, -1) - eigenface.mean.ravel()
    for direction, variance in zip(eigenface.components.reshape(2, -1), eigenface.explained_variance, strict=True):
        residual = centered.T @ (centered @ direction) / 999 - variance * direction
        assert np.linalg.norm(residual) <= 1.01e-7 * eigenface.explained_variance[0]


def test_each_cluster_has_its_own_eigenfaces() -> None:
    images = random_images(500, (10, 8, 3))
    cluster = np.random.default_rng(0).choice([0, 1, 3], 500, p=[0.6, 0.3, 0.1])
    results = eigenfaces_of(images, cluster, 4)
    assert [result.cluster for result in results] == [0, 1, 3]  # cluster 2 is empty
    for result in results:
        assert_equals_pca(result, images[cluster == result.cluster], 4)


def test_requested_clusters_are_returned_in_the_requested_order() -> None:
    images, cluster = random_images(9, (4, 4, 1)), np.repeat([0, 1, 2], 3)
    with ImageSpool(np.bincount(cluster), (4, 4, 1)) as spool:
        for number, image in zip(cluster, images, strict=True):
            spool.add(number, image)
        assert [result.cluster for result in compute_eigenfaces(spool, [2, 0], 1)] == [2, 0]


def test_a_single_face_has_no_components() -> None:
    images = random_images(1, (5, 4, 3))
    (eigenface,) = eigenfaces_of(images, np.zeros(1, np.int64), 3)
    np.testing.assert_array_equal(eigenface.mean, images[0])
    assert eigenface.components.shape == (0, 5, 4, 3)
    assert eigenface.explained_variance.shape == eigenface.explained_variance_ratio.shape == (0,)


def test_two_faces_have_one_component() -> None:
    images = random_images(2, (5, 4, 3))
    (eigenface,) = eigenfaces_of(images, np.zeros(2, np.int64), 3)
    assert eigenface.components.shape == (1, 5, 4, 3)
    difference = images[0].astype(float) - images[1]
    np.testing.assert_allclose(eigenface.explained_variance, [(difference**2).sum() / 2], rtol=1e-12)
    np.testing.assert_allclose(eigenface.explained_variance_ratio, [1], rtol=1e-12)
    assert abs((eigenface.components[0] * difference).sum()) == pytest.approx(np.linalg.norm(difference))


@pytest.mark.parametrize("n", [2, 7, 300])
def test_equal_faces_have_no_components(n: int) -> None:
    images = np.repeat(random_images(1, (5, 4, 3), seed=n), n, axis=0)
    (eigenface,) = eigenfaces_of(images, np.zeros(n, np.int64), 3)
    np.testing.assert_array_equal(eigenface.mean, images[0])
    assert len(eigenface.components) == len(eigenface.explained_variance) == 0


def test_there_are_no_more_components_than_the_rank() -> None:
    """Ten faces, but only two different images."""
    images = np.repeat(random_images(2, (5, 4, 3)), [3, 7], axis=0)
    (eigenface,) = eigenfaces_of(images, np.zeros(10, np.int64), 5)
    assert_equals_pca(eigenface, images, 1)


def test_a_difference_of_one_gray_level_in_one_pixel_is_found() -> None:
    images = np.full((1000, 40, 40, 3), 200, np.uint8)
    images[3, 7, 9, 2] = 201
    (eigenface,) = eigenfaces_of(images, np.zeros(1000, np.int64), 3)
    assert eigenface.components.shape[0] == 1
    assert eigenface.components[0, 7, 9, 2] == pytest.approx(1)
    np.testing.assert_allclose(eigenface.explained_variance, [1 / 1000], rtol=1e-4)


def test_results_do_not_depend_on_the_order_of_the_faces() -> None:
    images, cluster = random_images(600, (8, 8, 1)), np.repeat([0, 1], 300)
    first = eigenfaces_of(images, cluster, 3)
    second = eigenfaces_of(images, cluster, 3, order=np.random.default_rng(0).permutation(600))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.mean, b.mean)
        np.testing.assert_allclose(a.components, b.components, atol=1e-6)
        np.testing.assert_allclose(a.explained_variance, b.explained_variance, rtol=1e-9)


def test_the_spool_returns_the_added_images_in_order() -> None:
    images, cluster = random_images(600, (3, 4, 3)), np.random.default_rng(0).integers(0, 2, 600)
    with ImageSpool(np.bincount(cluster), (3, 4, 3)) as spool:
        for number, image in zip(cluster, images, strict=True):
            spool.add(number, image.transpose(1, 0, 2).copy().transpose(1, 0, 2))  # not contiguous
        for number in (0, 1):
            chunks = list(spool.chunks(number))
            assert spool.count(number) == (cluster == number).sum()
            assert max(map(len, chunks)) <= eigenfaces.CHUNK_IMAGES
            np.testing.assert_array_equal(np.concatenate(chunks), images[cluster == number].reshape(-1, 36))


def test_a_disk_that_is_too_small_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigenfaces.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(
        ValueError, match=rf"eigenfaces need .* GB in {tmp_path}, .* set TMPDIR to a folder on a larger disk, or"
    ):
        ImageSpool(np.array([10**12]), (1000, 1000, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_component_is_rendered_around_gray() -> None:
    component = np.array([[[-0.5], [0.0]], [[0.25], [1.0]]])
    assert eigenfaces.eigenface_picture(component)[:, :, 0].tolist() == [[64, 128], [159, 255]]
    assert (eigenfaces.eigenface_picture(np.zeros((2, 2, 3))) == 128).all()
