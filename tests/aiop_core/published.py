"""Writes pickles as the research code does: the same module and class names, attributes and protocol."""

import functools
import pickle
import sys
import types
from contextlib import contextmanager

MODULE = "model_src.comp_graph.tf_comp_graph"


@contextmanager
def research_modules():
    """The research code's classes, empty, where pickle looks for them; gone again afterwards."""
    names = [MODULE.rsplit(".", i)[0] for i in (2, 1)] + [MODULE]
    modules = {name: types.ModuleType(name) for name in names}
    classes = [type(name, (), {"__module__": MODULE}) for name in ("ComputeGraph", "RegularNode", "WeightedNode")]
    for made in classes:
        setattr(modules[MODULE], made.__name__, made)
    assert not set(names) & set(sys.modules)
    sys.modules.update(modules)
    try:
        yield classes
    finally:
        for name in names:
            del sys.modules[name]


def regular(op, resolution, **other):
    return {
        "kind": 1,
        "op_type_idx": op,
        "label": "x",
        "resolution": resolution,
        "strides": None,
        "metadata": None,
    } | other


def weighted(op, resolution, shape, **other):
    return regular(op, resolution, shape=shape, strides=(1, 1, 1, 1)) | {"kind": 2} | other


INPUT = regular(1, (8, 8, 8, 8, 3, 3), label="input")
CONV = weighted(3, (8, 4, 8, 4, 3, 6), [3, 6, 3, 3], strides=(1, 2, 2, 1), metadata={"data_format": "NHWC"})
OUTPUT = regular(2, (4, 4, 4, 4, 6, 6), label="output")


def small(*middle, name="OFA-PN-Net7", edges=None):
    """Input, a convolution, what is given, and an output, in a chain unless ``edges`` say otherwise."""
    return {"name": name, "chain": [INPUT, CONV, *middle, OUTPUT], "edges": edges}


def written(entries, protocol=4):
    """The bytes of a cache; ``small`` graphs anywhere in it become pickled ``ComputeGraph`` objects."""
    graphs = {}
    with research_modules() as (graph_class, *node_classes):

        def node(given):
            made = node_classes[given["kind"] - 1]()
            vars(made).update({key: value for key, value in given.items() if key != "kind"} | {"str_id": "1|x"})
            return made

        @functools.cache
        def graph(key):
            given = graphs[key]
            chain = given["chain"]
            order = sorted(range(len(chain)), key=lambda i: -chain[i]["kind"])
            number = {old: new for new, old in enumerate(order)}
            pairs = given["edges"] or [(i, i + 1) for i in range(len(chain) - 1)]
            nodes = [node(chain[i]) for i in order]
            made = graph_class()
            vars(made).update(
                name=given["name"],
                weighted_nodes=[n for n in nodes if hasattr(n, "shape")],
                regular_nodes=[n for n in nodes if not hasattr(n, "shape")],
                edge_pairs=[tuple(number.get(end, end) for end in pair) for pair in pairs],
                max_derived_H=256,
            )
            return made

        def objects(value):
            if isinstance(value, dict):
                if "chain" in value:
                    graphs[id(value)] = value
                    return graph(id(value))  # one object for one dictionary, as pickle does it
                return {key: objects(item) for key, item in value.items()}
            return [objects(item) for item in value] if isinstance(value, list) else value

        return pickle.dumps(objects(entries), protocol=protocol)


def entry(**other):
    """An entry in the classification layout."""
    return {
        "compute graph": small(),
        "acc": 0.75,
        "flops": 2592.0,
        "n_params": 162,
        "original config": (224, [["mbconv2_e4_k5"]]),
    } | other
