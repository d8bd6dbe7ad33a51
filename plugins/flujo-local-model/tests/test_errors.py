"""The window's rule: a reply gets what is wanted and free, an input that leaves too little is refused."""

import pytest
from flujo_local_model import InputTooLong
from flujo_local_model.errors import room_for_reply
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("found", "wanted", "room"), [(100, 1024, 1024), (3840, 1024, 256), (3500, 4000, 596), (4095, 1, 1), (4000, 96, 96)]
)
def test_a_reply_gets_what_is_wanted_and_free(found: int, wanted: int, room: int) -> None:
    assert room_for_reply("local:smollm2", found=found, wanted=wanted, window=4096) == room


def test_the_refusal_names_what_was_found_and_what_would_work() -> None:
    with pytest.raises(InputTooLong) as caught:
        room_for_reply("local:smollm2", found=10_031, wanted=1024, window=4096)
    assert str(caught.value) == (
        "the input is 10,031 tokens and 'local:smollm2' takes at most 3,840 (its window of 4,096 tokens holds the "
        "reply too); shorten it, or split it into parts of at most 3,840 tokens"
    )


@given(found=st.integers(0, 9000), wanted=st.integers(1, 9000))
def test_input_and_reply_always_fit_together(found: int, wanted: int) -> None:
    try:
        room = room_for_reply("local:smollm2", found=found, wanted=wanted, window=4096)
    except InputTooLong as error:
        assert found > error.limit
        return
    assert 1 <= room <= wanted
    assert found + room <= 4096
