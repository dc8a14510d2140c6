"""One job on images, run by one engine in a process of its own; prints images per second as JSON.

    python benchmarks/engines.py "predict 224x224" facetools FOLDER

Engines: `facetools`; `plain`, the loop that a user would write; `in-memory`, the network of facetools on a batch in
memory, so that the difference is reading, decoding and augmenting; `torch`, the same with plain torch in
float32. FOLDER holds faces in CelebA's layout. All engines use a GPU where there is one, and then pass over the faces
PASSES times.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision import transforms as tv

from facetools.images.batches import image_batches, map_images
from facetools.images.cache import open_image_caches
from facetools.images.decoding import load_image
from facetools.images.reading import ImageReader
from facetools.images.sources import find_images
from facetools.images.transforms import augment_image
from facetools.images.writing import encode_image
from facetools.network.architecture import ModelConfig
from facetools.network.inference import predict_scores, prepare_for_inference, upload_as_float
from facetools.network.model import AttributeNet, save_checkpoint
from facetools.prediction.backend import Predictor
from facetools.prediction.predictor import choose_precision, load_predictor, predict_images
from facetools.prediction.pytorch import CudaPredictor
from facetools.runtime.hardware import choose_device, set_torch_threads
from facetools.table.attributes import PAPER37
from facetools.table.celeba import CelebALayout
from facetools.training.examples import Examples
from facetools.training.learner import Learner
from facetools.training.loop import SINGLE_PROCESS
from facetools.training.recipes import PAPER
from facetools.training.step import TrainingStep

BATCH = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THREADS = torch.get_num_threads()
DEVICE = choose_device("auto")
#: How often a run passes over its faces.
PASSES = 1 if DEVICE.type == "cpu" else 16


def size_of(job: str) -> tuple[int, int]:
    height, _, width = job.split()[1].partition("x")
    return int(height), int(width)


def network(size: tuple[int, int]) -> AttributeNet:
    """A network with random weights and realistic batch statistics."""
    torch.manual_seed(0)
    model = AttributeNet(ModelConfig(PAPER37, image_size=size)).train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.rand(16, 3, *size) * 255)
    return model.eval()


class Plain(nn.Module):
    """The same network as a user would write it, on normalized pixels."""

    def __init__(self, like: AttributeNet) -> None:
        super().__init__()
        self.features = models.mobilenet_v2().features
        self.features.load_state_dict(like.backbone[0].state_dict())  # type: ignore[index]
        self.head = like.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels).mean((2, 3)))


class Files(Dataset):
    """Members of a zip through `transform`."""

    def __init__(self, archive: Path, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self._archive, self._transform = archive, transform
        with zipfile.ZipFile(archive) as opened:
            self._names = sorted(name for name in opened.namelist() if name.endswith(".jpg")) * PASSES
        self._opened: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        self._opened = self._opened or zipfile.ZipFile(self._archive)
        picture = Image.open(io.BytesIO(self._opened.read(self._names[row]))).convert("RGB")
        return self._transform(picture), torch.from_numpy(_labels(row))


def _labels(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 2, len(PAPER37)).astype(np.float32)


def paths_of(folder: Path) -> list[str]:
    return sorted(find_images([str(CelebALayout.find(folder).images)]))  # type: ignore[union-attr]


# Each engine prepares a job and returns a function that runs it once, which returns the number of images and an answer.

Work = Callable[[], tuple[int, np.ndarray]]


def predict_facetools(folder: Path, size: tuple[int, int]) -> Work:
    predictor, paths = _predictor(size), paths_of(folder) * PASSES
    choose_precision(predictor, paths, jobs=THREADS)

    def work() -> tuple[int, np.ndarray]:
        parts = predict_images(predictor, paths, BATCH, jobs=THREADS, on_failure=_fail)
        scores = np.concatenate([part for _, part in parts])
        return len(scores), scores

    return work


def predict_plain(folder: Path, size: tuple[int, int]) -> Work:
    model = Plain(network(size)).eval().to(DEVICE)
    steps = [tv.Resize(size), tv.ToTensor(), tv.Normalize(MEAN, STD)]
    loader = DataLoader(Files(folder / "img_align_celeba.zip", tv.Compose(steps)), BATCH, num_workers=THREADS)

    def work() -> tuple[int, np.ndarray]:
        with torch.no_grad():
            found = np.concatenate([torch.sigmoid(model(pixels.to(DEVICE))).cpu().numpy() for pixels, _ in loader])
        return len(found), found

    return work


def predict_in_memory(folder: Path, size: tuple[int, int]) -> Work:
    predictor, batches = _predictor(size), len(paths_of(folder)) * PASSES // BATCH
    batch = _images(folder, size)[:BATCH]
    predictor.choose_precision(batch)
    pool = ThreadPoolExecutor(THREADS)
    pixels = upload_as_float(batch, DEVICE)

    def work() -> tuple[int, np.ndarray]:
        if isinstance(predictor, CudaPredictor):
            scores = [part for _, part in predictor.score_batches(repeat((None, pixels), batches))]
        else:
            scores = list(pool.map(lambda _: predictor.scores(batch), range(batches)))
        return batches * BATCH, scores[0]

    return work


def predict_torch(folder: Path, size: tuple[int, int]) -> Work:
    model, batches = prepare_for_inference(network(size), DEVICE), len(paths_of(folder)) * PASSES // BATCH
    pixels = upload_as_float(_images(folder, size)[:BATCH], DEVICE)

    def work() -> tuple[int, np.ndarray]:
        scores = [predict_scores(model, pixels, bfloat16=False) for _ in range(batches)]
        return batches * BATCH, scores[0]

    return work


def _predictor(size: tuple[int, int]) -> Predictor:
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder, "model.pt"), network(size))
        return load_predictor(Path(folder, "model.pt"))


def augment_facetools(folder: Path, size: tuple[int, int]) -> Work:
    paths = paths_of(folder)

    def augment(reader: ImageReader, number: int, path: str) -> bytes:
        pixels = load_image(reader, path, None)
        (copy,), _ = augment_image(pixels, 1, PAPER.augmentation, np.random.default_rng(number))
        return encode_image(copy, ".jpg")

    def work() -> tuple[int, np.ndarray]:
        sizes = [len(content) for _, content in map_images(paths, augment, jobs=THREADS)]
        return len(paths), np.array(sizes)

    return work


def augment_plain(folder: Path, size: tuple[int, int]) -> Work:
    reach = PAPER.augmentation
    random = tv.Compose(
        [
            tv.RandomAffine(
                reach.rotation,
                (reach.shift, reach.shift),
                (1 - reach.zoom, 1 + reach.zoom),
                reach.shear,
                tv.InterpolationMode.BILINEAR,
            ),
            tv.RandomHorizontalFlip(),
        ]
    )

    def work() -> tuple[int, np.ndarray]:
        torch.manual_seed(0)
        sizes = []
        with zipfile.ZipFile(folder / "img_align_celeba.zip") as archive:
            for name in archive.namelist():
                picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                content = io.BytesIO()
                random(picture).save(content, "jpeg", quality=95)
                sizes.append(content.tell())
        return len(sizes), np.array(sizes)

    return work


def train_facetools(folder: Path, size: tuple[int, int]) -> Work:
    paths = paths_of(folder) * PASSES
    examples = Examples(paths, np.stack([_labels(row) for row in range(len(paths))]).astype(np.uint8))
    about = {"settings": {}}
    learner = Learner(_recipe(size), PAPER37, DEVICE, 0, SINGLE_PROCESS, True, about, None)
    (pixels_of,) = open_image_caches([paths], size, jobs=THREADS, on_failure=_fail)

    def work() -> tuple[int, np.ndarray]:
        seen = sum(learner.train_epoch(examples, pixels_of))
        record, _ = learner.finish_epoch(*[np.zeros((0, len(PAPER37)))] * 2)
        return seen, np.array(record["loss"])

    return work


def train_plain(folder: Path, size: tuple[int, int]) -> Work:
    model, reach = Plain(network(size)).to(DEVICE).train(), PAPER.augmentation
    steps = [
        tv.Resize(size),
        tv.RandomAffine(reach.rotation, (reach.shift, reach.shift), (1 - reach.zoom, 1 + reach.zoom), reach.shear),
        tv.RandomHorizontalFlip(),
        tv.ToTensor(),
        tv.Normalize(MEAN, STD),
    ]
    loader = DataLoader(Files(folder / "img_align_celeba.zip", tv.Compose(steps)), BATCH, num_workers=THREADS)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)

    def work() -> tuple[int, np.ndarray]:
        seen = 0
        for pixels, labels in loader:
            scores = torch.sigmoid(model(pixels.to(DEVICE)))
            loss = -torch.cosine_similarity(scores, labels.to(DEVICE)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(pixels)
        return seen, loss.detach().cpu().numpy()

    return work


def train_in_memory(folder: Path, size: tuple[int, int]) -> Work:
    model, recipe = network(size), _recipe(size)
    model.to(DEVICE, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    step = TrainingStep(model, recipe, DEVICE, nullcontext())
    batches, pixels = len(paths_of(folder)) * PASSES // BATCH, upload_as_float(_images(folder, size)[:BATCH], DEVICE)
    labels = torch.from_numpy(np.stack([_labels(row) for row in range(BATCH)])).to(DEVICE)

    def work() -> tuple[int, np.ndarray]:
        for _ in range(batches):
            with step.run(model, pixels, labels, recipe.peak_learning_rate) as loss:
                pass
        return batches * BATCH, loss.cpu().numpy()

    return work


def eigenface_facetools(folder: Path, size: tuple[int, int]) -> Work:
    from facetools.report.eigenfaces import ImageSpool, compute_eigenfaces

    faces, clusters = _blends(folder, size)

    def work() -> tuple[int, np.ndarray]:
        with ImageSpool(np.bincount(clusters), (*size, 3)) as spool:
            for cluster, face in zip(clusters.tolist(), faces, strict=True):
                spool.add(cluster, face)
            faces_of_clusters = list(
                compute_eigenfaces(spool, range(CLUSTERS), COMPONENTS, device=None if DEVICE.type == "cpu" else DEVICE)
            )
        return len(faces), np.array([face.explained_variance for face in faces_of_clusters])

    return work


def eigenface_plain(folder: Path, size: tuple[int, int]) -> Work:
    from sklearn.decomposition import PCA

    faces, clusters = _blends(folder, size)
    rows = faces.reshape(len(faces), -1)

    def work() -> tuple[int, np.ndarray]:
        fits = [PCA(COMPONENTS, svd_solver="full").fit(rows[clusters == c].astype(float)) for c in range(CLUSTERS)]
        return len(faces), np.array([pca.explained_variance_ for pca in fits])

    return work


CLUSTERS, COMPONENTS, BLENDS = 16, 4, 8000
ENGINES: dict[tuple[str, str], Callable[[Path, tuple[int, int]], Work]] = {
    ("predict", "facetools"): predict_facetools,
    ("predict", "plain"): predict_plain,
    ("predict", "in-memory"): predict_in_memory,
    ("predict", "torch"): predict_torch,
    ("train", "facetools"): train_facetools,
    ("train", "plain"): train_plain,
    ("train", "in-memory"): train_in_memory,
    ("augment", "facetools"): augment_facetools,
    ("augment", "plain"): augment_plain,
    ("eigenface", "facetools"): eigenface_facetools,
    ("eigenface", "plain"): eigenface_plain,
}


def _recipe(size: tuple[int, int]) -> Any:
    from dataclasses import replace

    return replace(PAPER, weights="none", image_size=size)


def _images(folder: Path, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate(
        [pixels for _, pixels in image_batches(paths_of(folder), size, BATCH, jobs=2, on_failure=_fail)]
    )


def _blends(folder: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Blends of drawn faces with noise, so that no two are equal, uint8 (BLENDS, h, w, 3), and their clusters."""
    some, rng = _images(folder, size), np.random.default_rng(0)
    pairs = rng.integers(0, len(some), (2, BLENDS))
    noise = rng.integers(0, 16, (BLENDS, *size, 3), dtype=np.uint8)
    return some[pairs[0]] // 2 + some[pairs[1]] // 4 + noise, rng.integers(0, CLUSTERS, BLENDS)


def _fail(path: str, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")


def run(job: str, engine: str, folder: Path) -> dict[str, Any]:
    """Run the job twice, first to warm up. Returns the images per second and the answer of the second run."""
    if engine != "plain":
        set_torch_threads(THREADS)
    work = ENGINES[job.split()[0], engine](folder, size_of(job))
    _, answer = work()
    started = time.perf_counter()
    count, _ = work()
    return {"rate": count / (time.perf_counter() - started), "answer": answer.ravel()[:4096].tolist()}


if __name__ == "__main__":
    job, engine, folder = sys.argv[1:]
    print(json.dumps(run(job, engine, Path(folder))))
