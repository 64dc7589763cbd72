from dataclasses import replace

import numpy as np
import pytest

from src.evaluation.estimates import NetworkInput, after_coding, mean_parameters, nearest_neighbours, within_ranges
from src.params import ParamSpec


def test_the_mean_estimate_is_the_mean():
    value = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    means = mean_parameters(value, 4)
    assert means.shape == (4, 3)
    np.testing.assert_allclose(means, np.tile(value.astype(np.float64).mean(axis=0), (4, 1)), rtol=1e-12)


def inputs(n, seed=0):
    rng = np.random.default_rng(seed)
    return NetworkInput(rng.integers(0, 256, (n, 1, 4, 3), dtype=np.uint8), rng.normal(size=(n, 2)))


@pytest.mark.parametrize("size", [7, 20, 100])
def test_the_nearest_neighbour_of_a_training_sample_is_itself(size):
    training = inputs(40)
    pieces = [NetworkInput(training.image[i : i + size], training.aux[i : i + size]) for i in range(0, 40, size)]
    np.testing.assert_array_equal(nearest_neighbours(training, iter(pieces)), np.arange(40))


def test_the_nearest_neighbour_is_the_nearest():
    training, asked = inputs(40), inputs(9, seed=1)
    distance = ((asked.features()[:, None] - training.features()) ** 2).sum(axis=2)
    done = []
    np.testing.assert_array_equal(nearest_neighbours(asked, [training], done.append), distance.argmin(axis=1))
    assert done == [40]


def test_where_images_agree_the_conditioning_inputs_decide():
    image = np.zeros((3, 1, 2, 2), np.uint8)
    training = NetworkInput(image, np.array([[0.0], [1.0], [2.0]]))
    assert nearest_neighbours(NetworkInput(image[:2], np.array([[1.9], [0.2]])), [training]).tolist() == [2, 0]


def test_without_conditioning_inputs_images_decide():
    training = inputs(10)
    bare = replace(training, aux=np.empty((10, 0)))
    np.testing.assert_array_equal(nearest_neighbours(bare, [bare]), np.arange(10))


SPECS = (ParamSpec("a", -2.0, 0.3, 0.1), ParamSpec("b", 64, 127, 7))


def test_coding_is_off_by_half_a_code_at_most():
    rng = np.random.default_rng(0)
    low, high = np.array([(spec.min, spec.max) for spec in SPECS]).T
    value = rng.uniform(low, high, (500, 2))
    half = (high - low) / 255 / 2
    error = np.abs(after_coding(value, SPECS) - value)
    assert (error <= half * (1 + 1e-9)).all()
    assert (error.max(axis=0) > 0.95 * half).all()
    np.testing.assert_allclose(after_coding(after_coding(value, SPECS), SPECS), after_coding(value, SPECS), rtol=1e-12)
    np.testing.assert_allclose(after_coding(np.stack([low, high]), SPECS), [low, high])


def test_what_is_over_a_range_by_rounding_is_put_at_its_end():
    value = np.float32([[0.3, 127.00001], [-2.0, 63.99999]])
    assert within_ranges(value, SPECS).tolist() == [[0.3, 127.0], [-2.0, 64.0]]
