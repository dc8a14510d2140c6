"""Recipes: defaults, validation, image sizes and learning rate schedules."""

import json
from dataclasses import replace

import pytest

from facetools.commands import options
from facetools.images.augmentation import NO_AUGMENTATION, Augmentation
from facetools.training import recipes
from facetools.training.optimizers import learning_rate_factor
from facetools.training.recipes import MODERN, PAPER, Recipe

COLORS = ("brightness", "contrast", "saturation", "grayscale")


def test_defaults_are_the_papers_settings() -> None:
    assert PAPER.to_dict() == {
        "backbone": "mobilenet_v2",
        "head": 1536,
        "dropout": 0.3,
        "weights": "imagenet",
        "image_size": [224, 224],
        "batch": 64,
        "epochs": PAPER.epochs,
        "freeze_epochs": 0,
        "first_stride": 2,
        "loss": "cosine",
        "optimizer": "adadelta",
        "learning_rate": None,
        "weight_decay": 0.0,
        "schedule": "constant",
        "final_rate": 0.0,
        "augmentation": {"rotation": 20.0, "shift": 0.2, "shear": 0.2, "zoom": 0.2, "flip": True}
        | dict.fromkeys(COLORS, 0.0),
        "mixup": 0.0,
        "averaging": 0.0,
        "distillation": 0.0,
        "flip_average": False,
        "amp": "auto",
        "growth": 1.0,
    }
    assert PAPER.peak_learning_rate == 1.0
    assert PAPER.stride == 2


def test_first_stride_is_1_for_small_images() -> None:
    assert MODERN.stride == 2
    assert replace(MODERN, image_size=(80, 64)).stride == 1
    assert replace(MODERN, image_size=(80, 64), first_stride=2).stride == 2


def test_recipe_survives_a_json_round_trip() -> None:
    recipe = Recipe(image_size=(96, 80), augmentation=NO_AUGMENTATION, learning_rate=0.25, optimizer="sgd")
    plain = json.loads(json.dumps(recipe.to_dict()))
    plain["augmentation"] = Augmentation(**plain["augmentation"])
    plain["image_size"] = tuple(plain["image_size"])
    assert Recipe(**plain) == recipe
    assert recipe.peak_learning_rate == 0.25
    assert Recipe(optimizer="adamw").peak_learning_rate == recipes.LEARNING_RATES["adamw"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": 0}, "^head is 0; it must be at least 1$"),
        ({"batch": 1}, "^batch is 1; it must be at least 2$"),
        ({"epochs": -1}, "^epochs is -1"),
        ({"freeze_epochs": -1}, "^freeze epochs is -1"),
        ({"weight_decay": -0.1}, "^weight decay is -0.1"),
        ({"dropout": 1.0}, "^dropout is 1.0; it must be at least 0 and under 1$"),
        ({"averaging": 1.0}, "^averaging is 1.0; it must be at least 0 and under 1$"),
        ({"distillation": 1.5}, "^distillation is 1.5; it must be at least 0 and at most 1$"),
        ({"final_rate": 1.5}, "^final rate is 1.5; it must be at least 0 and at most 1$"),
        ({"mixup": -0.1}, "^mixup is -0.1; it must be at least 0$"),
        ({"growth": 0}, "^growth is 0; it must be over 0 and at most 1$"),
        ({"growth": 1.5}, "^growth is 1.5; it must be over 0 and at most 1$"),
        ({"first_stride": 3}, "^the first stride is 3; it must be 1 or 2$"),
        ({"learning_rate": 0.0}, "^the learning rate is 0.0; it must be over 0$"),
    ],
)
def test_value_out_of_range_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


@pytest.mark.parametrize("name", ["rotation", "shift", "shear", "zoom", *COLORS])
def test_negative_augmentation_range_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of the augmentation is -0.1; it cannot be negative"):
        Augmentation(**{name: -0.1})


def test_zoom_of_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the zoom of the augmentation is 1\.0; it must be under 1"):
        Augmentation(zoom=1.0)


@pytest.mark.parametrize("name", COLORS)
def test_color_range_over_1_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of the augmentation is 1.5; it must be at most 1"):
        Augmentation(**{name: 1.5})


@pytest.mark.parametrize(("text", "size"), [("96", (96, 96)), ("96x80", (96, 80)), ("1X2", (1, 2))])
def test_parse_image_size(text: str, size: tuple[int, int]) -> None:
    assert options.parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "96x", "96x0", "-5", "9.5", "1x2x3", "a", "²"])
def test_parse_image_size_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size in pixels; give a number, or height x width as in 96x80"):
        options.parse_image_size(text)


def test_images_grow_in_three_stages() -> None:
    recipe = Recipe(epochs=20, image_size=(81, 64), growth=0.5)
    sizes = [recipe.image_size_at(epoch) for epoch in range(20)]
    assert sizes == [(40, 32)] * 12 + [(61, 48)] * 5 + [(81, 64)] * 3
    assert {replace(recipe, growth=1.0).image_size_at(epoch) for epoch in range(20)} == {(81, 64)}
    assert replace(recipe, epochs=1).image_size_at(0) == (81, 64)


@pytest.mark.parametrize(("schedule", "warm_up"), [("cosine", 0.05), ("onecycle", 0.3)])
@pytest.mark.parametrize("final", [0.0, 0.6, 1.0])
def test_learning_rate_rises_to_its_peak_and_falls_to_the_final_rate(
    schedule: str, warm_up: float, final: float
) -> None:
    rates = [learning_rate_factor(schedule, step / 1000, final) for step in range(1001)]
    peak = round(1000 * warm_up)
    assert (rates[0], rates[peak], rates[-1]) == pytest.approx((0.04, 1, final))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert learning_rate_factor("constant", 0.7, final) == 1
