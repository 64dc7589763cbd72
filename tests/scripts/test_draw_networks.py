import re
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from scripts import draw_networks
from scripts.draw_networks import BOX_WIDTH, BOX_X, WIDTH, draw, main, model_names, summary, text_width
from scripts.list_configs import HEAD_SIZES, ROOT, model_config, parameter_count
from scripts.network_structure import Row, collapse, describe_network, rows_of
from src.errors import ConfigError
from src.hydra_versions import instantiate
from src.models.components.cnn import SpectralCNN
from src.models.components.conditioning import Film
from src.models.components.network import NetIO, Network
from src.models.costs import multiply_adds

SVG = "{http://www.w3.org/2000/svg}"
MODELS = model_names()
IO = NetIO((1, 32, 32), HEAD_SIZES, n_aux=2)
EXAMPLE = torch.zeros(1, 1, 32, 32, dtype=torch.uint8), torch.zeros(1, 2)


@pytest.fixture(scope="module")
def networks():
    return {model: describe_network(model) for model in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_blocks_add_up_to_the_network(networks, model):
    assert networks[model].n_parameters == parameter_count(model)
    assert networks[model].rows[-1].name == "heads"
    assert networks[model].rows[-1].output == (sum(networks[model].heads.values()),)


@pytest.mark.parametrize("conditioning", ["none", "concat", "film"])
@pytest.mark.parametrize(
    "model", ["cnn_micro", "vit_micro", "convnext_nano", "bc_resnet_5k", "conv6", "mlp", "mlp_linear"]
)
def test_nothing_is_lost_and_conditioning_is_shown(model, conditioning):
    net = instantiate(model_config(model).net, IO, conditioning=conditioning, _convert_="all").eval()
    rows = rows_of(net, EXAMPLE)
    assert sum(row.multiply_adds for row in rows) == multiply_adds(net, EXAMPLE)[""]
    assert sum(row.n_parameters for row in rows) == sum(parameter.numel() for parameter in net.parameters())
    assert any(row.joins for row in rows) == (conditioning == "concat")
    assert any(row.name == "film" and row.side for row in rows) == (conditioning == "film")


def test_attention_and_every_token_are_counted():
    net = instantiate(model_config("vit_micro").net, IO, conditioning="none", _convert_="all").eval()
    blocks = next(row for row in rows_of(net, EXAMPLE) if row.name == "blocks.0")
    n_tokens, dim = blocks.output
    hidden = net.blocks[0].mlp[0].out_features
    linear = n_tokens * (4 * dim * dim + 2 * dim * hidden)
    attention = 2 * n_tokens * n_tokens * dim
    assert blocks.count == len(net.blocks)
    assert blocks.multiply_adds == blocks.count * (linear + attention)
    assert f"attention of {net.blocks[0].n_heads} heads" in blocks.operations


def test_a_convolution_is_counted_as_on_paper():
    net = SpectralCNN(IO, widths=[8], hidden=32).eval()
    stage, hidden, heads = rows_of(net, EXAMPLE)
    assert (stage.output, stage.multiply_adds) == ((8, 16, 16), 16 * 16 * 8 * 9)
    assert stage.operations == ("convolution 3×3, stride 2", "batch norm", "SiLU")
    assert hidden.joins
    assert hidden.multiply_adds == (8 * 16 * 16 + 2) * 32
    assert heads.multiply_adds == 32 * 34


class Recurrent(Network):
    """A network of layers that have no words here."""

    def __init__(self, io):
        super().__init__(io, "none", 0.0)
        self.film = Film(self.n_film, [])
        self.gru = nn.GRU(32, 24, batch_first=True)
        self.mixed = nn.Bilinear(24, 24, 8)
        self.add_hidden(8, 16, nn.ReLU(), io.head_sizes)

    def features(self, pixels, films, beside):
        _, last = self.gru(pixels[:, 0].mT)
        return self.join(self.mixed(last[0], last[0]), beside)


def test_layers_without_words_are_blocks_under_their_own_name():
    net = Recurrent(IO).eval()
    gru, mixed, *_ = rows = rows_of(net, EXAMPLE)
    assert sum(row.n_parameters for row in rows) == sum(parameter.numel() for parameter in net.parameters())
    assert sum(row.multiply_adds for row in rows) == multiply_adds(net, EXAMPLE)[""]
    assert (gru.operations, gru.n_parameters) == (("GRU",), 3 * (32 * 24 + 24 * 24 + 2 * 24))
    assert gru.multiply_adds == 32 * 3 * (32 * 24 + 24 * 24)
    assert (mixed.operations, mixed.n_parameters) == (("Bilinear",), 24 * 24 * 8 + 8)


def test_what_is_in_no_block_is_refused_by_name():
    net = Recurrent(IO).eval()
    net.never_used = nn.Linear(3, 4)
    with pytest.raises(ConfigError, match=r"Recurrent: its blocks have [\d,]+ of [\d,]+ parameters.*never_used"):
        rows_of(net, EXAMPLE)

    class Twice(Recurrent):
        def join(self, features, beside):
            return super().join(self.mixed(features.repeat(1, 3), features.repeat(1, 3)), beside)

    with pytest.raises(ConfigError, match=r"Twice: .*look at mixed"):
        rows_of(Twice(IO).eval(), EXAMPLE)

    class Functional(Recurrent):
        def join(self, features, beside):
            return super().join(features @ features.mT @ features, beside)

    with pytest.raises(ConfigError, match=r"products are computed in Functional itself"):
        rows_of(Functional(IO).eval(), EXAMPLE)


def test_blocks_that_are_alike_become_one():
    row = Row("blocks.0", ("linear",), (4,), 10, 100)
    same, other = Row("blocks.1", ("linear",), (4,), 10, 100), Row("blocks.2", ("linear",), (2,), 10, 100)
    (two, one) = collapse([row, same, other])
    assert (two.name, two.count, two.n_parameters, two.multiply_adds) == ("blocks.0", 2, 20, 200)
    assert one == other


@pytest.mark.parametrize(
    ("model", "overrides"),
    [*((model, ()) for model in MODELS), ("cnn_tiny", ("data=moog_envelope", "model.net.conditioning=film"))],
)
def test_nothing_is_clipped_and_no_text_meets_another(networks, model, overrides):
    root = ElementTree.fromstring(draw(describe_network(model, overrides) if overrides else networks[model]))
    height = float(root.get("height"))
    places = []
    for element in root.iter(f"{SVG}text"):
        size, bold = float(element.get("font-size")), element.get("font-weight") == "bold"
        width = text_width(element.text, size, bold)
        left = (
            float(element.get("x"))
            - {"start": 0, "middle": width / 2, "end": width}[element.get("text-anchor", "start")]
        )
        bottom = float(element.get("y"))
        places.append((left, bottom - 0.75 * size, left + width, bottom + 0.25 * size, element.text))
    for number, (left, top, right, bottom, content) in enumerate(places):
        assert 0 < left < right < WIDTH, content
        assert 0 < top < bottom < height, content
        for other in places[:number]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, f"{content} meets {other[4]}"
    edges = [float(box.get("x")) + float(box.get("width")) for box in root.iter(f"{SVG}rect") if box.get("rx") == "10"]
    assert max(edges) <= BOX_X + BOX_WIDTH


def test_a_picture_stands_on_a_light_card(networks):
    first = next(ElementTree.fromstring(draw(networks["cnn_tiny"])).iter(f"{SVG}rect"))
    assert first.get("fill") == "#ffffff"
    assert float(first.get("width")) == WIDTH - 1


def test_the_pictures_of_the_documentation_are_those_of_the_networks(networks):
    directory = ROOT / "docs" / "networks"
    assert {path.stem for path in directory.glob("*.svg")} == set(MODELS)
    for model, network in networks.items():
        assert (directory / f"{model}.svg").read_text() == draw(network), "run make td"
    assert (directory / "index.md").read_text() == draw_networks.index_page(list(networks.values())), "run make td"


def test_the_index_has_a_row_and_a_picture_for_every_network(networks):
    page = draw_networks.index_page(list(networks.values()))
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| 1 × \d+ × \d+, [02] aux \|", page, flags=re.MULTILINE)
    assert [(name, int(n.replace(",", "")), int(m.replace(",", ""))) for name, n, m in rows] == [
        (network.model, network.n_parameters, network.multiply_adds) for network in networks.values()
    ]
    assert re.findall(r"^!\[.*\]\((\w+)\.svg\)$", page, flags=re.MULTILINE) == MODELS


def test_text_and_list_draw_nothing(capsys, monkeypatch, networks):
    monkeypatch.setattr(draw_networks, "write_pictures", None)
    assert main(["--text", "cnn_micro"]) == 0
    assert capsys.readouterr().out.strip() == summary(networks["cnn_micro"])
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == MODELS


def test_pictures_of_other_data_go_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw_networks, "ROOT", tmp_path)
    assert main(["cnn_micro", "data=moog_basic"]) == 0
    assert (tmp_path / "logs" / "networks" / "cnn_micro.svg").is_file()
    assert "filter_cutoff" in (tmp_path / "logs" / "networks" / "cnn_micro.svg").read_text()
    assert str(tmp_path / "logs" / "networks" / "index.md") in capsys.readouterr().out


def test_an_unknown_model_is_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["resnet"])
    message = capsys.readouterr().err
    assert "resnet" in message
    assert "cnn_tiny" in message
