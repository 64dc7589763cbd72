import numpy as np
import pytest

from src.evaluation.estimates import nearest_neighbours, network_features
from src.params import ParameterSpace, ParamSpec


def features(n, seed=0, n_aux=2):
    rng = np.random.default_rng(seed)
    return network_features(rng.integers(0, 256, (n, 1, 4, 3), dtype=np.uint8), rng.normal(size=(n, n_aux)))


@pytest.mark.parametrize("size", [7, 20, 100])
def test_the_nearest_neighbour_of_a_training_sample_is_itself(size):
    training = features(40)
    pieces = [training[i : i + size] for i in range(0, 40, size)]
    np.testing.assert_array_equal(nearest_neighbours(training, iter(pieces)), np.arange(40))


def test_the_nearest_neighbour_is_the_nearest():
    training, asked = features(40), features(9, seed=1)
    distance = ((asked[:, None] - training) ** 2).sum(axis=2)
    done = []
    np.testing.assert_array_equal(nearest_neighbours(asked, [training], done.append), distance.argmin(axis=1))
    assert done == [40]


def test_where_images_agree_the_conditioning_inputs_decide():
    image = np.zeros((3, 1, 2, 2), np.uint8)
    training = network_features(image, np.array([[0.0], [1.0], [2.0]]))
    asked = network_features(image[:2], np.array([[1.9], [0.2]]))
    assert nearest_neighbours(asked, [training]).tolist() == [2, 0]


def test_without_conditioning_inputs_images_decide():
    bare = features(10, n_aux=0)
    np.testing.assert_array_equal(nearest_neighbours(bare, [bare]), np.arange(10))


SPACE = ParameterSpace((ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7)))


def after_coding(value):
    return SPACE.decode(SPACE.encode(value))


def test_coding_is_off_by_half_a_code_at_most():
    rng = np.random.default_rng(0)
    low, high = SPACE.low, SPACE.high
    value = rng.uniform(low, high, (500, 2))
    half = (high - low) / 255 / 2
    error = np.abs(after_coding(value) - value)
    assert (error <= half * (1 + 1e-9)).all()
    assert (error.max(axis=0) > 0.95 * half).all()
    np.testing.assert_allclose(after_coding(after_coding(value)), after_coding(value), rtol=1e-12)
    np.testing.assert_allclose(after_coding(np.stack([low, high])), [low, high])


def test_what_is_over_a_range_by_rounding_is_put_at_its_end():
    value = np.float32([[0.3, 127.00001], [-2.0, 63.99999]])
    assert SPACE.clip(value).tolist() == [[0.3, 127.0], [-2.0, 64.0]]
