import torch
from networks import inputs, network


def test_without_a_hidden_layer_logits_are_linear_in_the_pixels_and_the_inputs():
    net, (image, aux) = network("mlp_linear").eval(), inputs(n=2)
    zero, both = torch.zeros_like(image[:1]), image // 2
    bias = net(zero, 0 * aux[:1])["decay"]
    a, b = (net(both[i : i + 1], aux[i : i + 1])["decay"] - bias for i in range(2))
    together = net(both[:1] + both[1:], aux[:1] + aux[1:])["decay"] - bias
    torch.testing.assert_close(together, a + b, atol=1e-5, rtol=1e-5)


def test_every_hidden_layer_has_its_size():
    net = network("mlp", hidden=[9, 5, 7])
    assert [(layer.in_features, layer.out_features) for layer in net.layers] == [(1026, 9), (9, 5), (5, 7)]
    assert net.heads.linear.in_features == 7
