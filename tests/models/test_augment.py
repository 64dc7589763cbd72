import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from src.data import batches
from src.errors import ConfigError
from src.models.augment import Augment
from src.models.losses import CrossEntropy, Gaussian, Ordinal, Regression, SoftTarget, WeightedCrossEntropy
from src.models.vimh_module import VIMHLitModule
from src.param_tensors import ParamTensors
from src.params import ParamSpec

N, CHANNELS, HEIGHT, WIDTH = 6, 2, 20, 30
MASKS = {"time_masks": 2, "time_width": 0.2, "freq_masks": 1, "freq_width": 0.5}
SPECS = [ParamSpec("a", 0, 4, 1, names=tuple("pqrst")), ParamSpec("b", 0.0, 1.0, 0.1)]
NUMBERS = SPECS[1:]


def batch(n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randint(spec.n_classes, (n,), generator=generator) for spec in SPECS], dim=1)
    return {
        "image": torch.randint(256, (n, CHANNELS, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8),
        "aux": torch.randn(n, 2, generator=generator),
        "index": index,
        "normalized": index / torch.tensor([spec.n_classes - 1 for spec in SPECS]),
    }


def test_what_is_drawn_depends_on_seed_epoch_number_and_device_alone():
    own = [batch(seed=number) for number in range(5)]
    whole = Augment(**MASKS, mixup=0.4, seed=3)(own, epoch=2, first=0)
    parts = [*Augment(**MASKS, mixup=0.4, seed=3)(own[:2], 2, 0), *Augment(**MASKS, mixup=0.4, seed=3)(own[2:], 2, 2)]
    for one, other in zip(whole, parts, strict=True):
        assert set(one) == set(other) > {"share", "other_index", "other_normalized"}
        assert all(torch.equal(one[key], other[key]) for key in one)
    for settings, place in (({"seed": 4}, (2, 0)), ({}, (1, 0)), ({}, (2, 1)), ({}, (2, 0, 1))):
        (another,) = Augment(**MASKS, mixup=0.4, **{"seed": 3, **settings})(own[:1], *place)
        assert not torch.equal(another["image"], whole[0]["image"])
    assert Augment(mixup=1).seed != Augment(mixup=1).seed


def test_bands_have_the_mean_of_their_channel_and_all_else_stays():
    own = batch(200)
    (changed,) = Augment(**MASKS, seed=0)([own], 0, 0)
    assert changed["image"].dtype == torch.uint8
    mean = own["image"].float().mean(dim=(2, 3), keepdim=True).round().byte()
    covered = changed["image"] != own["image"]
    assert torch.equal(changed["image"][covered], mean.expand_as(covered)[covered])
    rows = covered.any(dim=1).sum(dim=2) > WIDTH * 0.9  # by chance, a pixel is the mean already
    columns = covered.any(dim=1).sum(dim=1) > HEIGHT * 0.9
    assert rows.sum(dim=1).amax() == HEIGHT // 2
    assert WIDTH * 0.2 < columns.sum(dim=1).amax() <= 2 * int(0.2 * WIDTH)
    assert (rows.unsqueeze(2) | columns.unsqueeze(1)).unsqueeze(1).expand_as(covered)[covered].float().mean() > 0.99
    assert rows.any(dim=0).all() and columns.any(dim=0).all()  # no place is spared
    for key in ("aux", "index", "normalized"):
        assert torch.equal(changed[key], own[key])


def test_widths_of_bands_are_uniform_from_nothing_to_the_largest():
    own = {**batch(4000), "image": torch.ones(4000, 1, 4, 12, dtype=torch.uint8)}
    own["image"][..., 0, 0] = 255  # the mean differs from every pixel
    (changed,) = Augment(time_masks=1, time_width=0.25, seed=0)([own], 0, 0)
    widths = (changed["image"] != own["image"])[:, 0, 1].sum(dim=1)
    assert np.bincount(widths, minlength=4) / 4000 == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_mixtures_are_weighted_means_and_most_of_each_is_its_own():
    own = batch(50)
    (changed,) = Augment(mixup=1.0, seed=0)([own], 0, 0)
    share = changed["share"]
    assert share.min() >= 0.5 and share.max() <= 1
    assert share.mean().item() == pytest.approx(0.75, abs=0.06)  # the larger of two parts of a uniform distribution
    partner = [
        next(k for k in range(50) if torch.equal(own["index"][k], index) and is_mixed(own, changed, n, k))
        for n, index in enumerate(changed["other_index"])
    ]
    assert sorted(partner) == list(range(50))
    assert torch.equal(changed["other_normalized"], own["normalized"][partner])
    aux = share[:, None] * own["aux"] + (1 - share[:, None]) * own["aux"][partner]
    torch.testing.assert_close(changed["aux"], aux)
    assert torch.equal(changed["index"], own["index"])


def is_mixed(own, changed, n, k):
    share = changed["share"][n]
    expected = (share * own["image"][n] + (1 - share) * own["image"][k]).round()
    return (changed["image"][n].float() - expected).abs().max() <= 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("time_masks", -1), ("freq_masks", 1.5), ("time_width", 1.1), ("mixup", -0.1), ("mixup", math.inf), ("seed", -1)],
)
def test_settings_that_make_no_sense_are_refused(setting, value):
    with pytest.raises(ConfigError, match=rf"^augment.{setting} is {value}"):
        Augment(**{setting: value})


# ----- losses of mixtures


def module_of(loss, specs):
    return VIMHLitModule(torch.nn.Identity(), loss, [*map(asdict, specs)], (1, 2, 2), 2, torch.optim.SGD)


def mixture(specs, n=9):
    own = batch(n)
    columns = slice(2 - len(specs), 2)
    (changed,) = Augment(mixup=1.0, seed=1)([own], 0, 0)
    targets = ("index", "normalized", "other_index", "other_normalized")
    return {key: part[:, columns] if key in targets else part for key, part in changed.items()}


@pytest.mark.parametrize(
    ("loss", "specs"),
    [
        *((loss, SPECS) for loss in (CrossEntropy(0.1), SoftTarget(), WeightedCrossEntropy(), Ordinal())),
        *((loss, NUMBERS) for loss in (Regression(), Gaussian())),
    ],
    ids=lambda item: type(item).__name__,
)
def test_the_loss_of_a_mixture_is_that_of_both_targets_by_their_shares(loss, specs):
    module, mixed = module_of(loss, specs), mixture(specs)
    logits = {spec.name: torch.randn(9, loss.head_size(spec)) for spec in specs}
    heads, outputs = ParamTensors(specs), [logits[spec.name] for spec in specs]
    own, other = (
        loss.per_sample(outputs, mixed[f"{of}normalized"], mixed[f"{of}index"], heads) for of in ("", "other_")
    )
    share = mixed["share"].unsqueeze(1)
    torch.testing.assert_close(module.compute_loss(logits, mixed), (share * own + (1 - share) * other).mean())
    alone = {**mixed, "share": torch.ones(9)}
    torch.testing.assert_close(module.compute_loss(logits, alone), own.mean())


def test_the_loss_of_mixed_classes_is_that_of_the_mixed_target():
    module, mixed = module_of(CrossEntropy(), SPECS[:1]), mixture(SPECS)
    mixed = {key: part[:, :1] if "index" in key or "normalized" in key else part for key, part in mixed.items()}
    logits = torch.randn(9, 5)
    share = mixed["share"].unsqueeze(1)
    one, other = (torch.nn.functional.one_hot(mixed[key][:, 0], 5) for key in ("index", "other_index"))
    expected = torch.nn.functional.cross_entropy(logits, share * one + (1 - share) * other)
    torch.testing.assert_close(module.compute_loss({"a": logits}, mixed), expected)


def test_the_gradient_of_mixed_numbers_is_that_of_the_mixed_value():
    loss = Regression(delta=100.0)  # quadratic throughout
    module, mixed = module_of(loss, NUMBERS), mixture(NUMBERS)
    logits = torch.randn(9, 1, requires_grad=True)
    module.compute_loss({"b": logits}, mixed).backward()
    found, logits.grad = logits.grad, None
    share = mixed["share"].unsqueeze(1)
    value = share * mixed["normalized"] + (1 - share) * mixed["other_normalized"]
    loss.per_head([logits], value, mixed["index"], ParamTensors(NUMBERS)).sum().backward()
    torch.testing.assert_close(found, logits.grad)


# ----- trainings


def test_a_training_is_the_same_in_chunks_of_any_size(fit, monkeypatch):
    found = []
    for size, option in ((8, "both"), (4096, "both"), (4096, "none")):
        monkeypatch.setattr(batches, "CHUNK_SAMPLES", size)
        module, _ = fit(f"augment={option}", "trainer.max_epochs=1")
        found.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
    alone, together, plain = found
    for name, tensor in alone.items():
        assert torch.equal(tensor, together[name]), name
    assert any(not torch.equal(tensor, alone[name]) for name, tensor in plain.items())
