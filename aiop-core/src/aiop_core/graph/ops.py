"""The closed vocabulary of operations.

The first 32 indices are those of the AIO-P research code, in its order, so that
its published caches and checkpoints keep their meaning. Operations that the paper
had no name for follow after them.

Source: Ascend-Research/AIO-P, ``data/tf_primitive_ops_simplified.txt``.
"""

from enum import IntEnum

PAPER_OPS = 32
"""How many operations the paper's vocabulary has, reserved ones included."""


class Op(IntEnum):
    """What a node computes. The value is the index that predictors embed."""

    OOV = 0
    Input = 1
    Output = 2
    Conv = 3
    Depthwise = 4
    BatchNorm = 5
    ReLU = 6
    ReLU6 = 7
    MatMul = 8
    Add = 9
    Mul = 10
    Concat = 11
    Maxpool = 12
    Avgpool = 13
    Sigmoid = 14
    Tanh = 15
    Swish = 16
    GeLU = 17
    Paddings = 18
    Mean = 19
    SpacetoBatchND = 20
    BatchtoSpaceND = 21
    SpacetoDepthND = 22
    DepthtoSpaceND = 23
    Global = 24
    Identity = 25
    Zero = 26
    Reserved1 = 27
    Reserved2 = 28
    Reserved3 = 29
    Reserved4 = 30
    Reserved5 = 31
    ConvTranspose = 32
    LayerNorm = 33
    GroupNorm = 34
    Softmax = 35
    Resize = 36
    Sub = 37
    Div = 38
    Slice = 39
    Sum = 40
    Max = 41
    ELU = 42
    LeakyReLU = 43
    PReLU = 44
    Softplus = 45
    Exp = 46
    Sqrt = 47
    Pow = 48
    Tile = 49
    Gather = 50
    Min = 51
    Abs = 52
    Log = 53
    Erf = 54
    Sin = 55
    Cos = 56
    Norm = 57
    Compare = 58
    Where = 59
    Cumsum = 60
    TopK = 61
    ArgMax = 62
    RoIAlign = 63
    NMS = 64
    GridSample = 65
    DeformConv = 66
    Recurrent = 67
    FFT = 68
    Round = 69
    Prod = 70
    Sign = 71
    Var = 72


PAPER_EQUIVALENT: dict[Op, Op] = {Op.ConvTranspose: Op.Conv, Op.DeformConv: Op.Conv}
"""What the paper's vocabulary calls an operation that has its own name here."""


def paper_op(op: Op) -> Op:
    """The operation as the research code would have named it; ``OOV`` where it had no name."""
    op = PAPER_EQUIVALENT.get(op, op)
    return op if op < PAPER_OPS else Op.OOV


WEIGHTED = frozenset({Op.Conv, Op.Depthwise, Op.ConvTranspose, Op.DeformConv, Op.MatMul})
"""Operations whose kernel and bias the paper's node features show."""
