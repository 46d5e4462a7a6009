"""Convolutions: 2 x positions x elements of the weight, forward and for each gradient."""

from __future__ import annotations

import pytest

from mfu_profiler.flops import OpCall, op_cost

from .helpers import call, flop

# ResNet's first convolution: 32 images of 224, kernel 7, stride 2, padding 3 -> 112 x 112 positions
X, W, OUT = [32, 3, 224, 224], [64, 3, 7, 7], [32, 64, 112, 112]
FIRST = 2 * (32 * 112 * 112) * (64 * 3 * 7 * 7)

STRIDE, PADDING, ONES, ZEROS = "[2, 2]", "[3, 3]", "[1, 1]", "[0, 0]"


@pytest.mark.parametrize(
    ("name", "concrete"),
    [
        ("aten::conv2d", {3: STRIDE, 4: PADDING, 5: ONES, 6: "1"}),
        ("aten::convolution", {3: STRIDE, 4: PADDING, 5: ONES, 6: "False", 7: ZEROS, 8: "1"}),
        ("aten::_convolution", {3: STRIDE, 4: PADDING, 5: ONES, 6: "False", 7: ZEROS, 8: "1", 12: "True"}),
        ("aten::cudnn_convolution", {2: PADDING, 3: STRIDE, 4: ONES, 5: "1", 6: "True"}),
        ("aten::cudnn_convolution_relu", {3: STRIDE, 4: PADDING, 5: ONES, 6: "1"}),
        ("aten::cudnn_convolution_add_relu", {3: "1", 5: STRIDE, 6: PADDING, 7: ONES, 8: "1"}),
        ("aten::miopen_convolution", {3: PADDING, 4: STRIDE, 5: ONES, 6: "1", 7: "False", 8: "False"}),
        ("aten::mkldnn_convolution", {3: PADDING, 4: STRIDE, 5: ONES, 6: "1"}),
        ("aten::_mps_convolution", {3: PADDING, 4: STRIDE, 5: ONES, 6: "1"}),
        ("aten::_nnpack_spatial_convolution", {3: PADDING, 4: STRIDE}),
        ("aten::thnn_conv2d", {2: "[7, 7]", 4: STRIDE, 5: PADDING}),
        ("aten::_slow_conv2d_forward", {2: "[7, 7]", 4: STRIDE, 5: PADDING}),
        ("aten::slow_conv_dilated2d", {2: "[7, 7]", 4: STRIDE, 5: PADDING, 6: ONES}),
    ],
)
def test_every_spelling_of_resnets_first_convolution_costs_the_same(
    name: str, concrete: dict[int, str]
) -> None:
    assert flop(name, X, W, concrete=concrete) == FIRST == 7_552_892_928


def test_one_number_stands_for_every_dimension() -> None:
    assert flop("aten::conv2d", X, W, concrete={3: "[2]", 4: "[3]", 5: "[1]", 6: "1"}) == FIRST


def test_an_image_without_batch_dimension_is_a_batch_of_one() -> None:
    concrete = {3: STRIDE, 4: PADDING, 5: ONES, 6: "1"}
    assert flop("aten::conv2d", X[1:], W, concrete=concrete) == FIRST // 32


def test_groups_divide_the_cost() -> None:
    """Depthwise: every channel has a 3 x 3 filter of its own."""
    concrete = {2: ONES, 3: ONES, 4: ONES, 5: "16", 6: "False", 7: "False", 8: "True"}
    assert flop("aten::cudnn_convolution", [2, 16, 5, 5], [16, 1, 3, 3], concrete=concrete) == (
        2 * (2 * 5 * 5) * (16 * 1 * 3 * 3)
    )


def test_a_transposed_convolution_multiplies_at_every_position_of_its_input() -> None:
    concrete = {3: STRIDE, 4: ZEROS, 5: ONES, 6: "True", 7: ONES, 8: "1"}
    expected = 2 * (2 * 9 * 9) * (4 * 8 * 3 * 3)
    assert flop("aten::convolution", [2, 4, 9, 9], [4, 8, 3, 3], concrete=concrete) == expected
    # its name says so: nothing else is needed
    assert flop("aten::conv_transpose2d", [2, 4, 9, 9], [4, 8, 3, 3]) == expected
    assert flop("aten::cudnn_convolution_transpose", [2, 4, 9, 9], [4, 8, 3, 3]) == expected


def test_bytes_are_input_weight_bias_and_output() -> None:
    cost = op_cost(
        call("aten::conv2d", [2, 4, 9, 9], [8, 4, 3, 3], [8], concrete={3: ONES, 4: ZEROS, 5: ONES, 6: "1"})
    )
    assert cost is not None
    assert cost.byte == 4 * (2 * 4 * 81 + 8 * 4 * 9 + 8 + 2 * 8 * 49)


@pytest.mark.parametrize(
    ("concrete", "why"),
    [
        (None, "no stride is recorded and no pair is given"),
        ({3: "[0, 0]", 4: PADDING, 5: ONES, 6: "1"}, "a stride of zero"),
        ({3: STRIDE, 4: PADDING, 5: ONES, 6: "3"}, "groups that do not fit"),
        ({3: STRIDE, 4: "", 5: ONES, 6: "1"}, 'padding="same" is not recorded'),
    ],
)
def test_a_forward_whose_output_is_not_known_has_no_cost(concrete: dict[int, str] | None, why: str) -> None:
    assert flop("aten::conv2d", X, W, concrete=concrete) is None, why


# --- backward ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "gradients"),
    [
        ("[True, True, True]", 2),
        ("[False, True, False]", 1),
        ("[True, False, False]", 1),
        ("[False, False, True]", 0),
    ],
)
def test_each_gradient_costs_as_much_as_the_forward(mask: str, gradients: int) -> None:
    concrete = {7: "False", 10: mask}
    assert flop("aten::convolution_backward", OUT, X, W, concrete=concrete) == gradients * FIRST


def test_without_a_mask_both_gradients_are_taken_to_be_wanted() -> None:
    assert flop("aten::convolution_backward", OUT, X, W) == 2 * FIRST
    assert flop("aten::cudnn_convolution_backward", X, OUT, W) == 2 * FIRST
    assert flop("aten::thnn_conv2d_backward", OUT, X, W) == 2 * FIRST


def test_the_input_gradient_needs_only_gradient_and_weight() -> None:
    for library in ("cudnn", "miopen", "mkldnn"):
        assert flop(f"aten::{library}_convolution_backward_input", [], OUT, W) == FIRST


def test_the_weight_gradient_takes_the_weight_from_the_op_around_it() -> None:
    """The 2021 format: the weight's size is a list of numbers, which is not recorded."""
    shapes = ((), tuple(OUT), tuple(X))
    name = "aten::cudnn_convolution_backward_weight"
    assert op_cost(OpCall(name, shapes)) is None
    around = (tuple(X), tuple(OUT), tuple(W), (), (), ())
    cost = op_cost(OpCall(name, shapes, paired_shapes=around))
    assert cost is not None
    assert cost.model_flop == FIRST


@pytest.mark.parametrize(
    "paired",
    [
        [OUT],  # CudnnConvolutionBackward, ConvolutionBackward0
        [X, OUT, W, [], [], []],  # aten::cudnn_convolution_backward
        [OUT, X, W, [], [], []],  # aten::convolution_backward
    ],
)
def test_a_forward_of_2021_takes_its_output_from_its_backwards_gradient(paired: list[list[int]]) -> None:
    shapes = (tuple(X), tuple(W))
    pair = tuple(tuple(shape) for shape in paired)
    for name in ("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::cudnn_convolution"):
        cost = op_cost(OpCall(name, shapes, paired_shapes=pair))
        assert cost is not None
        assert cost.model_flop == FIRST


def test_a_pair_with_equal_shapes_is_no_riddle() -> None:
    """Gradient and input have one shape: [input, gradient, weight] is still complete."""
    given, weight = (2, 4, 5, 5), (4, 4, 3, 3)
    cost = op_cost(OpCall("aten::convolution", (given, weight), paired_shapes=(given, given, weight)))
    assert cost is not None
    assert cost.model_flop == 2 * (2 * 25) * (4 * 4 * 9)


def test_channels_that_contradict_each_other_have_no_cost() -> None:
    assert flop("aten::convolution_backward", [2, 7, 5, 5], [2, 4, 5, 5], [8, 4, 3, 3]) is None
    assert flop("aten::cudnn_convolution_backward_input", [], [2, 7, 5, 5], [8, 4, 3, 3]) is None
    assert op_cost(OpCall("aten::conv2d", (tuple(X), tuple(W)), paired_shapes=((32, 9, 1, 1),))) is None


def test_backward_bytes_are_the_gradient_what_it_meets_and_what_comes_out() -> None:
    shapes = ([2, 8, 7, 7], [2, 4, 9, 9], [8, 4, 3, 3])
    gradient, given, weight = 2 * 8 * 49, 2 * 4 * 81, 8 * 4 * 9
    both = op_cost(
        call("aten::convolution_backward", *shapes, concrete={7: "False", 10: "[True, True, False]"})
    )
    one = op_cost(
        call("aten::convolution_backward", *shapes, concrete={7: "False", 10: "[False, True, False]"})
    )
    assert both is not None
    assert one is not None
    assert both.byte == 4 * (gradient + 2 * given + 2 * weight)
    assert one.byte == 4 * (gradient + given + weight)
