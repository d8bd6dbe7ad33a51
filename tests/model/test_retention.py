"""How long runs are kept: what a table says of it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import ConfigurationError
from flujo_core.model.retention import ENDED, Retention, retention_of, seconds_of

DAY = 86400.0


def test_an_age_is_a_number_and_a_unit() -> None:
    assert (seconds_of("2w"), seconds_of("1.5 h"), seconds_of("3m"), seconds_of("0s")) == (1209600.0, 5400.0, 180.0, 0)
    for wrong in ("", "d", "3", "3 months", "-1d"):
        with pytest.raises(ConfigurationError, match="is no age"):
            seconds_of(wrong)


def test_a_table_says_how_long_runs_are_kept_by_what_they_ended_as() -> None:
    assert retention_of({}, "f") == Retention()
    assert retention_of({"keep": "90d"}, "f") == Retention(dict.fromkeys(ENDED, 90 * DAY))
    found = retention_of({"keep": "90d", "failed": "180d", "refused": "forever", "at_least": "30d"}, "f")
    assert found.ages == {
        "completed": 90 * DAY, "stopped": 90 * DAY, "cancelled": 90 * DAY, "failed": 180 * DAY,
    }  # fmt: skip
    assert found.at_least == 30 * DAY
    assert retention_of({"failed": "1d"}, "f").ages == {"failed": DAY}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"paused": "1d"}, "f has a key 'retention.paused', which means nothing"),
        ({"keeps": "1d"}, "did you mean 'keep'"),
        ({"keep": 30}, "'retention.keep' in f is a text, such as '30d' or 'forever'"),
        ({"keep": "soon"}, "'retention.keep' in f: 'soon' is no age; .* or 'forever'"),
        ({"at_least": "forever"}, "'retention.at_least' in f is an age"),
        ({"at_least": "30d", "failed": "1d"}, "'retention.failed' in f is less than 'retention.at_least' there"),
    ],
)
def test_what_a_table_cannot_say_is_an_error(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        retention_of(table, "f")
