"""Every option of every layer is checked when the layer is made, and named."""

import inspect

import pytest
from gradsmith import nn

NEEDED = {
    "in_features": 4, "out_features": 3, "in1_features": 2, "in2_features": 2, "in_channels": 4,
    "out_channels": 4, "kernel_size": 2, "num_features": 4, "num_groups": 2, "num_channels": 4,
    "normalized_shape": (4,), "size": 3, "num_embeddings": 5, "embedding_dim": 3, "input_size": 3,
    "hidden_size": 3, "output_size": 4, "padding": 1, "upscale_factor": 2, "downscale_factor": 2,
    "groups": 2, "n_classes": 9, "cutoffs": [3], "norm_type": 2.0, "threshold": 0.1, "value": 0.2,
    "dim": 1, "unflattened_size": (2, 2),
}  # fmt: skip
UNCHECKED = {"self", "args", "kwargs", "device", "dtype", "distance_function", "weight"}
UNCHECKED |= {"pos_weight", "_weight", "_random_samples"}
WITHOUT_OPTIONS = (nn.ModuleDict, nn.ModuleList, nn.ParameterDict, nn.ParameterList, nn.RNNCellBase)


def layer_options():
    """Every layer with each of its options that is neither a flag nor a tensor."""
    for name in nn.__all__:
        layer = getattr(nn, name)
        is_layer = isinstance(layer, type) and issubclass(layer, nn.Module)
        if is_layer and layer not in WITHOUT_OPTIONS:
            given = inspect.signature(layer.__init__).parameters
            base = {k: NEEDED[k] for k, p in given.items() if p.default is p.empty and k in NEEDED}
            if name.startswith("Fractional"):
                base["output_size"] = 4
            for option, kind in given.items():
                if option not in UNCHECKED and "bool" not in kind.annotation:
                    yield layer, base, option


@pytest.mark.parametrize(("layer", "base", "option"), list(layer_options()))
def test_options_of_layers_are_checked_and_named(layer, base, option):
    layer(**base)
    for wrong in (object(), "text", [1.5, "x"]):
        with pytest.raises((TypeError, ValueError), match=option.rstrip("s")) as error:
            layer(**base | {option: wrong})
        assert layer.__name__ in str(error.value)
