"""One job on images, done by one engine in a process of its own: images a second, as JSON.

    python benchmarks/engines.py "predict 224x224" facetools FOLDER

Engines are `facetools`, `plain`, the loop that a user would write, and, for jobs with a network, `forward`, or `step`,
which compute on a batch that lies ready, in the way that is fastest here: what is lost to it is reading, decoding and
augmenting. `torch` is `forward` by torch, whatever is fastest. FOLDER has faces in CelebA's layout; a GPU, which all
engines take where there is one, sees them sixteen times a go.
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

from facetools.images import batches, sources, transforms
from facetools.images.cache import open_image_caches
from facetools.network.architecture import ModelConfig
from facetools.network.inference import predict_scores, prepare_for_inference, upload_as_float, upload_images
from facetools.network.model import AttributeNet, save_checkpoint
from facetools.prediction.backend import Predictor
from facetools.prediction.predictor import choose_precision, load_predictor, predict_images
from facetools.prediction.pytorch import CudaPredictor
from facetools.runtime.hardware import choose_device, set_torch_threads
from facetools.table.attributes import PAPER37
from facetools.table.celeba import CelebALayout
from facetools.training import augmentation
from facetools.training.examples import Examples
from facetools.training.learner import Learner
from facetools.training.loop import SINGLE_PROCESS
from facetools.training.recipes import PAPER
from facetools.training.step import TrainingStep

BATCH = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THREADS = torch.get_num_threads()
DEVICE = choose_device("auto")
#: How often a go sees its faces.
TIMES = 1 if DEVICE.type == "cpu" else 16


def size_of(job: str) -> tuple[int, int]:
    height, _, width = job.split()[1].partition("x")
    return int(height), int(width)


def network(size: tuple[int, int]) -> AttributeNet:
    """A network of random weights whose batch statistics are those of its features, as training leaves them."""
    torch.manual_seed(0)
    model = AttributeNet(ModelConfig(PAPER37, image_size=size)).train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.rand(16, 3, *size) * 255)
    return model.eval()


class Plain(nn.Module):
    """The same network as a user would write it, on pixels that are normalised already."""

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
            self._names = sorted(name for name in opened.namelist() if name.endswith(".jpg")) * TIMES
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
    return sorted(sources.find_images([str(CelebALayout.find(folder).images)]))  # type: ignore[union-attr]


# Each engine prepares a job and gives what does it once: the number of images, and an answer to compare.

Work = Callable[[], tuple[int, np.ndarray]]


def predict_ours(folder: Path, size: tuple[int, int]) -> Work:
    model, paths = _predictor(size), paths_of(folder) * TIMES
    choose_precision(model, paths, jobs=THREADS)

    def work() -> tuple[int, np.ndarray]:
        found = np.concatenate(
            [
                predict_scores
                for _, predict_scores in predict_images(model, paths, BATCH, jobs=THREADS, on_failure=_failed)
            ]
        )
        return len(found), found

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


def predict_forward(folder: Path, size: tuple[int, int]) -> Work:
    model, batches = _predictor(size), len(paths_of(folder)) * TIMES // BATCH
    batch = _some(folder, size)[:BATCH]
    model.choose_precision(batch)
    pool = ThreadPoolExecutor(THREADS)
    pixels = upload_as_float(batch, DEVICE)

    def work() -> tuple[int, np.ndarray]:
        if not isinstance(model, CudaPredictor):
            found = list(pool.map(lambda _: model.scores(batch), range(batches)))
        else:
            found = [scores for _, scores in model.score_batches(repeat((None, pixels), batches))]
        return batches * BATCH, found[0]

    return work


def predict_torch(folder: Path, size: tuple[int, int]) -> Work:
    model, batches = prepare_for_inference(network(size), DEVICE), len(paths_of(folder)) * TIMES // BATCH
    pixels = upload_as_float(_some(folder, size)[:BATCH], DEVICE)

    def work() -> tuple[int, np.ndarray]:
        found = [predict_scores(model, pixels, bfloat16=False) for _ in range(batches)]
        return batches * BATCH, found[0]

    return work


def _predictor(size: tuple[int, int]) -> Predictor:
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder, "model.pt"), network(size))
        return load_predictor(Path(folder, "model.pt"))


def augment_ours(folder: Path, size: tuple[int, int]) -> Work:
    pixels = upload_images(_some(folder, size), DEVICE)

    def work() -> tuple[int, np.ndarray]:
        rng = np.random.default_rng(0)
        for start in list(range(0, len(pixels), BATCH)) * TIMES:
            draws = transforms.draw_transforms(BATCH, PAPER.augmentation, rng)
            found = augmentation.warp_batch(pixels[start : start + BATCH], transforms.affine_matrices(draws, *size))
        return len(pixels) * TIMES, found.cpu().numpy()

    return work


def augment_plain(folder: Path, size: tuple[int, int]) -> Work:
    pixels = torch.from_numpy(_some(folder, size)).permute(0, 3, 1, 2).float().contiguous()
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
        for start in range(0, len(pixels), BATCH):
            found = torch.stack([random(image) for image in pixels[start : start + BATCH]])
        return len(pixels), found.numpy()

    return work


def train_ours(folder: Path, size: tuple[int, int]) -> Work:
    paths = paths_of(folder) * TIMES
    examples = Examples(paths, np.stack([_labels(row) for row in range(len(paths))]).astype(np.uint8))
    about = {"settings": {}}
    learner = Learner(_recipe(size), PAPER37, DEVICE, 0, SINGLE_PROCESS, True, about, None)
    (pixels_of,) = open_image_caches([paths], size, jobs=THREADS, on_failure=_failed)

    def work() -> tuple[int, np.ndarray]:
        seen = sum(learner.steps(examples, pixels_of))
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
            predict_scores = torch.sigmoid(model(pixels.to(DEVICE)))
            loss = -torch.cosine_similarity(predict_scores, labels.to(DEVICE)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(pixels)
        return seen, loss.detach().cpu().numpy()

    return work


def train_step(folder: Path, size: tuple[int, int]) -> Work:
    model, recipe = network(size), _recipe(size)
    model.to(DEVICE, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    step = TrainingStep(model, recipe, DEVICE)
    batches, pixels = len(paths_of(folder)) * TIMES // BATCH, upload_as_float(_some(folder, size)[:BATCH], DEVICE)
    labels = torch.from_numpy(np.stack([_labels(row) for row in range(BATCH)])).to(DEVICE)

    def work() -> tuple[int, np.ndarray]:
        for _ in range(batches):
            loss = step.take(model, pixels, labels, recipe.rate)
        return batches * BATCH, loss.cpu().numpy()

    return work


def eigenface_ours(folder: Path, size: tuple[int, int]) -> Work:
    from facetools.report.eigenfaces import ImageSpool, compute_eigenfaces

    faces, clusters = _many(folder, size)

    def work() -> tuple[int, np.ndarray]:
        with ImageSpool(np.bincount(clusters), (*size, 3)) as spool:
            for cluster, face in zip(clusters.tolist(), faces, strict=True):
                spool.add(cluster, face)
            made = list(compute_eigenfaces(spool, range(CLUSTERS), COMPONENTS, device=DEVICE))
        return len(faces), np.array([face.explained_variance for face in made])

    return work


def eigenface_plain(folder: Path, size: tuple[int, int]) -> Work:
    from sklearn.decomposition import PCA

    faces, clusters = _many(folder, size)
    rows = faces.reshape(len(faces), -1)

    def work() -> tuple[int, np.ndarray]:
        made = [PCA(COMPONENTS, svd_solver="full").fit(rows[clusters == c].astype(float)) for c in range(CLUSTERS)]
        return len(faces), np.array([pca.explained_variance_ for pca in made])

    return work


CLUSTERS, COMPONENTS, MANY = 16, 4, 8000
ENGINES: dict[tuple[str, str], Callable[[Path, tuple[int, int]], Work]] = {
    ("predict", "facetools"): predict_ours,
    ("predict", "plain"): predict_plain,
    ("predict", "forward"): predict_forward,
    ("predict", "torch"): predict_torch,
    ("train", "facetools"): train_ours,
    ("train", "plain"): train_plain,
    ("train", "step"): train_step,
    ("augment", "facetools"): augment_ours,
    ("augment", "plain"): augment_plain,
    ("eigenface", "facetools"): eigenface_ours,
    ("eigenface", "plain"): eigenface_plain,
}


def _recipe(size: tuple[int, int]) -> Any:
    from dataclasses import replace

    return replace(PAPER, weights="none", image_size=size)


def _some(folder: Path, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate(
        [pixels for _, pixels in batches.image_batches(paths_of(folder), size, BATCH, jobs=2, on_failure=_failed)]
    )


def _many(folder: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Blends of drawn faces with noise, so that no two are equal, uint8 (MANY, h, w, 3), and their clusters."""
    some, rng = _some(folder, size), np.random.default_rng(0)
    pairs = rng.integers(0, len(some), (2, MANY))
    noise = rng.integers(0, 16, (MANY, *size, 3), dtype=np.uint8)
    return some[pairs[0]] // 2 + some[pairs[1]] // 4 + noise, rng.integers(0, CLUSTERS, MANY)


def _failed(path: str, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")


def done(job: str, engine: str, folder: Path) -> dict[str, Any]:
    """Images a second of the second of two goes, of which the first warms up, and the answer of that."""
    if engine != "plain":
        set_torch_threads(THREADS)
    work = ENGINES[job.split()[0], engine](folder, size_of(job))
    _, answer = work()
    started = time.perf_counter()
    count, _ = work()
    return {"rate": count / (time.perf_counter() - started), "answer": answer.ravel()[:4096].tolist()}


def main(job: str, engine: str, folder: str) -> None:
    print(json.dumps(done(job, engine, Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
