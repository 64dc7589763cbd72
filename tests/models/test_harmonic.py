import pytest
import torch
from networks import network

from src.errors import ConfigError
from src.models.components.harmonic import HarmonicCNN, harmonic_rows
from src.models.components.network import NetIO

N_ROWS, N_CLASSES, FIRST = 80, 30, 8
SETTINGS = {"bins_per_octave": 12, "first_row": FIRST, "widths": [4, 6], "width": 8, "harmonics": [0.5, 1, 2, 3, 4]}


def pitch_network(**changes):
    torch.manual_seed(0)
    heads = changes.pop("head_sizes", {"note_number": N_CLASSES})
    return HarmonicCNN(NetIO((1, N_ROWS, 8), heads, changes.pop("n_aux", 0)), **SETTINGS | changes).eval()


def tone(row, n_harmonics=4):
    """A picture of a harmonic sound on a dark ground."""
    image = torch.zeros(1, 1, N_ROWS, 8, dtype=torch.uint8)
    for shift in [0, 12, 19, 24][:n_harmonics]:
        if row + shift < N_ROWS:
            image[0, 0, row + shift] = 255 - 2 * shift
    return image


def test_rows_of_harmonics_by_their_formula():
    rows = harmonic_rows(n_rows=40, bins_per_octave=12, first_row=5, n_candidates=3, harmonics=[1, 2, 3, 8], margin=1)
    assert rows.tolist() == [[4, 5, 6, 7, 8], [16, 17, 18, 19, 20], [23, 24, 25, 26, 27], [40, 40, 40, 40, 40]]
    below = harmonic_rows(40, 12, 5, 2, [0.5], 0)
    assert below.tolist() == [[40, 40]]


@pytest.mark.parametrize("shift", [1, 5, 12])
def test_a_shifted_picture_shifts_the_answer(shift):
    net = pitch_network()
    with torch.no_grad():
        logits = [net(tone(row), torch.zeros(1, 0))["note_number"][0] for row in (16, 16 + shift)]
    margin = 10  # where a harmonic or a kernel reaches over an end of the picture
    torch.testing.assert_close(
        logits[1][margin + shift : N_CLASSES - margin],
        logits[0][margin : N_CLASSES - margin - shift],
        atol=1e-4,
        rtol=0,
    )


def test_a_gain_and_another_floor_change_nothing():
    net = pitch_network()
    image = torch.randint(0, 100, (2, 1, N_ROWS, 8)).to(torch.uint8)
    with torch.no_grad():
        same = [net(picture, torch.zeros(2, 0))["note_number"] for picture in (image, image + 50, image * 2)]
    torch.testing.assert_close(same[1], same[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(same[2], same[0], atol=1e-3, rtol=1e-3)


def test_it_learns_a_pitch_from_few_tones_and_reads_others():
    torch.manual_seed(0)
    net, rows = pitch_network().train(), torch.arange(0, N_CLASSES, 2)
    images = torch.cat([tone(FIRST + int(row)) for row in rows])
    optimizer = torch.optim.AdamW(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        logits = net(images, torch.zeros(len(rows), 0))["note_number"]
        torch.nn.functional.cross_entropy(logits, rows).backward()
        optimizer.step()
    others = torch.arange(3, N_CLASSES - 2, 2)
    net.eval()
    with torch.no_grad():
        found = net(torch.cat([tone(FIRST + int(row)) for row in others]), torch.zeros(len(others), 0))
    assert (found["note_number"].argmax(dim=1) == others).float().mean() > 0.9


@pytest.mark.parametrize("conditioning", ["none", "concat", "film"])
def test_other_heads_stand_beside_the_pitch_in_their_order(conditioning):
    heads = {"program": 5, "note_number": N_CLASSES, "velocity": 3}
    net = pitch_network(head_sizes=heads, n_aux=2, conditioning=conditioning)
    logits = net(tone(20).expand(4, -1, -1, -1), torch.randn(4, 2))
    assert {name: tuple(head.shape) for name, head in logits.items()} == {name: (4, n) for name, n in heads.items()}
    assert list(logits) == list(heads)


@pytest.mark.parametrize("first_row", [-1, N_ROWS - N_CLASSES + 1])
def test_candidates_outside_of_the_picture_are_refused(first_row):
    with pytest.raises(ConfigError, match=r"head note_number has 30 classes from row .* has 80 rows"):
        pitch_network(first_row=first_row)


@pytest.mark.parametrize("harmonics", [[0], [1, -2]])
def test_harmonics_are_above_0(harmonics):
    with pytest.raises(ConfigError, match=r"net\.harmonics is"):
        pitch_network(harmonics=harmonics)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="kernel_size"):
        pitch_network(kernel_size=2)


@pytest.mark.parametrize("pooling", [[3, 1], [1], [0, 1], [1, 3]])
def test_parts_that_do_not_divide_the_picture_are_refused(pooling):
    with pytest.raises(ConfigError, match=r"net\.pooling is .* 8 rows and 8 columns"):
        network("cnn_pooled", pooling=pooling)


def test_a_pooled_network_does_not_see_where_a_feature_lies():
    net = network("cnn_pooled", (1, 64, 16), n_aux=0, conditioning="none", head_sizes={"family": 3}).eval()
    image = torch.zeros(2, 1, 64, 16, dtype=torch.uint8)
    image[0, 0, 20:24, 4:12] = 200
    image[1, 0, 36:40, 4:12] = 200
    with torch.no_grad():
        one, other = net(image, torch.zeros(2, 0))["family"]
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
