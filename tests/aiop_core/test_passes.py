"""Passes leave the same network with fewer nodes."""

from aiop_core.graph.build import GraphBuilder
from aiop_core.graph.ops import Op, paper_op
from aiop_core.graph.passes import prune


def chain(*, dead: bool = False):
    b = GraphBuilder()
    x = b.input((8, 8))
    conv = b.conv(x, 4, 3)
    if dead:
        b.add(Op.Sigmoid, (b.add(Op.Tanh, (conv,)),))
    b.output(b.add(Op.Add, (conv, b.add(Op.ReLU, (conv,)))))
    return b.build()


def test_nodes_that_reach_no_output_are_dropped() -> None:
    assert prune(chain(dead=True)) == chain()
    clean = chain()
    assert prune(clean) is clean


def test_operations_have_the_papers_index_or_an_equivalent() -> None:
    assert paper_op(Op.ConvTranspose) is Op.Conv
    assert paper_op(Op.Softmax) is Op.OOV
    assert [op for op in Op if op < 32] == [paper_op(op) for op in Op if op < 32]
