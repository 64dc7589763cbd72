import pytest
import torch

from src.errors import ConfigError
from src.models.components.conditioning import Film, Standardize, modulate, places


def test_inputs_go_to_one_place_or_to_none():
    assert {word: places(word, 3) for word in ("none", "concat", "film")} == {
        "none": (0, 0),
        "concat": (3, 0),
        "film": (0, 3),
    }


@pytest.mark.parametrize("word", ["concatenate", "None", ""])
def test_unknown_words_are_refused_with_those_that_are_known(word):
    with pytest.raises(ConfigError, match=rf"conditioning is '{word}'; choose one of none, concat, film"):
        places(word, 2)


def test_inputs_are_standardized():
    mean, std = [-60.0, 3.0], [10.0, 0.5]
    standardize = Standardize(2, mean, std)
    assert torch.equal(standardize(torch.tensor([mean, [-50.0, 2.5]])), torch.tensor([[0.0, 0], [1, -1]]))
    assert list(standardize.state_dict()) == ["mean", "std"]
    aux = torch.randn(3, 4)
    assert torch.equal(Standardize(4)(aux), aux)


def test_modulation_is_a_scale_and_a_shift_of_every_channel():
    features, film = torch.randn(4, 3, 5, 6), torch.randn(4, 6)
    expected = torch.empty_like(features)
    for sample in range(4):
        for channel in range(3):
            scale, shift = 1 + film[sample, channel], film[sample, 3 + channel]
            expected[sample, channel] = features[sample, channel] * scale + shift
    torch.testing.assert_close(modulate(features, film), expected)
    torch.testing.assert_close(modulate(features.movedim(1, -1), film, dim=-1), expected.movedim(1, -1))
    torch.testing.assert_close(modulate(features[:, :, 0, 0], film), expected[:, :, 0, 0])


def test_modulation_begins_as_identity_and_has_a_gradient():
    film, aux, features = Film(2, [3, 5]), torch.randn(4, 2), torch.randn(4, 5, 7)
    first, second = film(aux)
    assert (first.shape, second.shape) == ((4, 6), (4, 10))
    assert torch.equal(modulate(features, second), features)
    modulate(features, second).square().sum().backward()
    assert film.linear.weight.grad[6:].all()


def test_modulation_is_linear_in_the_inputs():
    film = Film(2, [3])
    torch.nn.init.normal_(film.linear.weight)
    a, b = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(film(a + 2 * b)[0], film(a)[0] + 2 * film(b)[0])
    assert not film(torch.zeros(1, 2))[0].any()


def test_without_inputs_there_is_nothing_to_learn_and_nothing_happens():
    film, features = Film(0, [3, 5]), torch.randn(4, 3)
    assert list(film.parameters()) == []
    films = film(torch.randn(4, 0))
    assert films == [None, None]
    assert modulate(features, films[0]) is features
