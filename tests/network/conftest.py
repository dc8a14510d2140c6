"""Fixtures of the tests of the network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from facetools.network.architecture import ModelConfig
from facetools.network.model import AttributeNet, save_checkpoint


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks run fastest on one thread, especially if other processes use the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shufflenet_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "shufflenet.pt"
    config = ModelConfig(("Bald",), "shufflenet_v2_x0_5", head=4, image_size=(32, 32))
    save_checkpoint(path, AttributeNet(config))
    return path
