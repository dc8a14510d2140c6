"""Defaults and validation of what decides a training."""

import json
from dataclasses import replace

import pytest

from facetools.commands import options
from facetools.images.augmentation import NO_AUGMENTATION, Augmentation
from facetools.training import recipes
from facetools.training.optimizers import learning_rate_factor
from facetools.training.recipes import MODERN, PAPER, Recipe

COLOURS = ("brightness", "contrast", "saturation", "grayscale")


def test_the_defaults_are_the_papers() -> None:
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
        | dict.fromkeys(COLOURS, 0.0),
        "mixup": 0.0,
        "averaging": 0.0,
        "distillation": 0.0,
        "flip_average": False,
        "amp": "auto",
        "growth": 1.0,
    }
    assert PAPER.rate == 1.0
    assert PAPER.stride == 2


def test_small_images_are_not_made_smaller_at_once() -> None:
    assert MODERN.stride == 2
    assert replace(MODERN, image_size=(80, 64)).stride == 1
    assert replace(MODERN, image_size=(80, 64), first_stride=2).stride == 2


def test_plain_values_survive_json_and_build_the_recipe_again() -> None:
    recipe = Recipe(image_size=(96, 80), augmentation=NO_AUGMENTATION, learning_rate=0.25, optimizer="sgd")
    plain = json.loads(json.dumps(recipe.to_dict()))
    plain["augmentation"] = Augmentation(**plain["augmentation"])
    plain["image_size"] = tuple(plain["image_size"])
    assert Recipe(**plain) == recipe
    assert recipe.rate == 0.25
    assert Recipe(optimizer="adamw").rate == recipes.LEARNING_RATES["adamw"]


@pytest.mark.parametrize(
    ("wrong", "message"),
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
        ({"first_stride": 3}, "^the first stride is 3; it must be 1 or 2$"),
        ({"learning_rate": 0.0}, "^the learning rate is 0.0; it must be over 0$"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize("name", ["rotation", "shift", "shear", "zoom", *COLOURS])
def test_an_augmentation_reaches_forward(name: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of the augmentation is -0.1; it cannot be negative"):
        Augmentation(**{name: -0.1})


def test_a_zoom_leaves_something_to_see() -> None:
    with pytest.raises(ValueError, match=r"the zoom of the augmentation is 1\.0; it must be under 1"):
        Augmentation(zoom=1.0)


@pytest.mark.parametrize("name", COLOURS)
def test_colours_do_not_turn_into_their_opposites(name: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of the augmentation is 1.5; it must be at most 1"):
        Augmentation(**{name: 1.5})


@pytest.mark.parametrize(("text", "size"), [("96", (96, 96)), ("96x80", (96, 80)), ("1X2", (1, 2))])
def test_image_size(text: str, size: tuple[int, int]) -> None:
    assert options.parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "96x", "96x0", "-5", "9.5", "1x2x3", "a", "²"])
def test_image_size_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size in pixels; give a number, or height x width as in 96x80"):
        options.parse_image_size(text)


def test_images_grow_in_three_steps() -> None:
    recipe = Recipe(epochs=20, image_size=(81, 64), growth=0.5)
    sizes = [recipe.size_at(epoch) for epoch in range(20)]
    assert sizes == [(40, 32)] * 12 + [(61, 48)] * 5 + [(81, 64)] * 3
    assert {replace(recipe, growth=1.0).size_at(epoch) for epoch in range(20)} == {(81, 64)}
    assert replace(recipe, epochs=1).size_at(0) == (81, 64)
    for growth in (0, 1.5):
        with pytest.raises(ValueError, match="growth"):
            replace(recipe, growth=growth)


@pytest.mark.parametrize(("schedule", "rise"), [("cosine", 0.05), ("onecycle", 0.3)])
@pytest.mark.parametrize("final", [0.0, 0.6, 1.0])
def test_rates_rise_to_the_whole_and_fall_to_the_last(schedule: str, rise: float, final: float) -> None:
    rates = [learning_rate_factor(schedule, step / 1000, final) for step in range(1001)]
    top = round(1000 * rise)
    assert (rates[0], rates[top], rates[-1]) == pytest.approx((0.04, 1, final))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert learning_rate_factor("constant", 0.7, final) == 1
