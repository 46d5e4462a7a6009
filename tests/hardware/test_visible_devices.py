"""CUDA_VISIBLE_DEVICES in all its forms, and which device of NVML's list an index then means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfu_profiler.hardware.visible_devices import (
    ListedGpu,
    ListedSlice,
    device_at_index,
    device_named,
    uuid_spellings,
    visible_entries,
)

GPUS = tuple(ListedGpu(uuid=f"GPU-{letter * 4}", name="NVIDIA H100 NVL") for letter in "abcd")
SMALL = ListedSlice("MIG-1111", gpu_instance=9, compute_instance=0)
LARGE = ListedSlice("MIG-2222", gpu_instance=2, compute_instance=1)
SPLIT = ListedGpu("GPU-eeee", "NVIDIA A100-SXM4-80GB", is_mig=True, slices=(LARGE, SMALL))
BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def visible(value: str | None, listed: tuple[ListedGpu, ...] = GPUS) -> list[ListedGpu | ListedSlice]:
    """The devices from index 0 to the first that is not there."""
    environment = BY_BUS if value is None else {**BY_BUS, "CUDA_VISIBLE_DEVICES": value}
    devices: list[ListedGpu | ListedSlice] = []
    while True:
        try:
            devices.append(device_at_index(len(devices), environment, listed))
        except LookupError:
            return devices


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        (None, None),
        ("", ()),
        ("NoDevFiles", ()),
        ("-1", ()),
        ("0", (0,)),
        ("2,0,1", (2, 0, 1)),
        (" 2 , 0", (2, 0)),
        ("0,1,-1,2", (0, 1)),
        ("0,one,1", (0,)),
        ("0,,1", (0,)),
        ("1gpu2,2ampere", (1, 2)),
        ("2,+3,-0,5", (2, 3, 0, 5)),
        ("0,1,0", ()),
        ("0," + "9" * 5000, (0,)),
        ("GPU-9e8d,GPU-47cd", ("GPU-9e8d", "GPU-47cd")),
        ("GPU-9e8d,2", ("GPU-9e8d",)),
        ("GPU-9e8d,MIG-1111", ("GPU-9e8d",)),
        ("GPU-9e8d,GPU-9e8d", ()),
        ("MIG-GPU-9e8d/1/0,GPU-9e8d", ("MIG-GPU-9e8d/1/0",)),
    ],
)
def test_entries_are_read_as_the_driver_reads_them(value: str | None, entries: object) -> None:
    assert visible_entries(value) == entries


@given(st.text(max_size=40))
@settings(deadline=None)
def test_no_text_is_too_strange(value: str) -> None:
    entries = visible_entries(value)
    assert entries is not None and len(set(entries)) == len(entries)
    assert all(isinstance(entry, str) or entry >= 0 for entry in entries)


@given(st.permutations(range(4)), st.integers(0, 4), st.sampled_from([",-1", ",x", ",7", ""]))
@settings(deadline=None)
def test_a_list_of_indices_is_the_order_of_the_devices_up_to_what_cuts_it(
    order: list[int], length: int, end: str
) -> None:
    value = ",".join(map(str, order[:length])) + end
    assert visible(value) == [GPUS[index] for index in order[:length]]


@given(st.permutations(range(4)), st.integers(1, 4))
@settings(deadline=None)
def test_a_list_of_uuids_or_of_their_beginnings_is_the_order_of_the_devices(
    order: list[int], digits: int
) -> None:
    value = ",".join(f"GPU-{'abcd'[index] * digits}" for index in order)
    assert visible(value) == [GPUS[index] for index in order]


def test_without_the_variable_all_devices_are_there_in_bus_order() -> None:
    assert visible(None) == list(GPUS)


@pytest.mark.parametrize("value", ["", "-1", "0,0", "GPU-", "GPU-zzzz", "4", "GPU-a,GPU-aa"])
def test_a_list_that_shows_nothing_shows_nothing(value: str) -> None:
    # "GPU-" begins four UUIDs; "GPU-a" and "GPU-aa" are one device twice.
    assert visible(value) == []


def test_unlike_devices_in_the_default_order_are_not_told_by_an_index_but_by_a_uuid() -> None:
    listed = GPUS[0], ListedGpu("GPU-ffff", "NVIDIA L4")
    for environment in ({}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}):
        with pytest.raises(LookupError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
            device_at_index(0, environment, listed)
    assert device_at_index(0, {"CUDA_VISIBLE_DEVICES": "GPU-f"}, listed) is listed[1]
    assert device_at_index(1, BY_BUS, listed) is listed[1]


def test_a_device_whose_name_is_not_known_may_differ() -> None:
    with pytest.raises(LookupError, match="the GPUs differ"):
        device_at_index(0, {}, (ListedGpu(None), ListedGpu(None)))
    assert device_at_index(0, {}, (ListedGpu(None),)) == ListedGpu(None)


def test_alike_devices_in_the_default_order_are_told_by_their_index() -> None:
    assert device_at_index(2, {"CUDA_VISIBLE_DEVICES": "3,1,0"}, GPUS) is GPUS[0]


@pytest.mark.parametrize("value", ["MIG-1111", "MIG-11", "MIG-GPU-eeee/9/0"])
def test_a_slice_is_told_by_its_uuid_in_the_new_and_the_old_form(value: str) -> None:
    assert visible(value, (*GPUS, SPLIT)) == [SMALL]


def test_a_slice_of_another_instance_or_gpu_is_not_there() -> None:
    for value in ("MIG-GPU-eeee/9/1", "MIG-GPU-aaaa/9/0", "MIG-", "MIG-3333"):
        assert visible(value, (*GPUS, SPLIT)) == []


def test_an_index_does_not_tell_a_device_where_one_of_several_gpus_is_split() -> None:
    with pytest.raises(LookupError, match="CUDA_VISIBLE_DEVICES=MIG-"):
        device_at_index(0, BY_BUS, (*GPUS, SPLIT))


def test_a_lone_split_gpu_is_its_only_slice_or_itself() -> None:
    one_slice = ListedGpu("GPU-eeee", is_mig=True, slices=(LARGE,))
    assert visible("0", (one_slice,)) == visible("GPU-e", (one_slice,)) == [LARGE]
    assert visible("0", (SPLIT,)) == [SPLIT]


def test_a_uuid_without_its_prefix_may_be_a_gpu_or_a_slice() -> None:
    assert uuid_spellings("1111") == ("GPU-1111", "MIG-1111")
    assert uuid_spellings("GPU-1111") == ("GPU-1111",)
    assert uuid_spellings("MIG-1111") == ("MIG-1111",)


def test_a_whole_uuid_is_found_even_where_it_begins_another() -> None:
    listed = ListedGpu("GPU-1"), ListedGpu("GPU-12")
    assert device_named("GPU-1", listed) is listed[0]
    assert device_named("GPU-12", listed) is listed[1]
    assert device_named("GPU-", listed) is None
