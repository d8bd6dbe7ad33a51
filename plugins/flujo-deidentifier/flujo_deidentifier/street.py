"""Street: how the lines of postal addresses are written."""

from __future__ import annotations

from typing import Final

_SUFFIXES = (
    "alley avenue ave bayou beach bend bluff boulevard blvd branch bridge brook burg bypass canyon cape causeway centre"
    " center circle cir cliff club common corner course court ct cove creek crescent crest crossing crossroad curve dale"
    " divide drive dr estate expressway extension fall ferry field flat ford forest forge fork fort freeway fwy garden"
    " gateway glen green grove harbor haven height highway hwy hill hollow inlet island isle junction key knoll lake land"
    " landing lane ln light loaf lock lodge loop mall manor meadow mew mews mill mission motorway mount mountain neck"
    " orchard oval overpass park parkway pkwy pass passage path pike pine place pl plain plaza point port prairie radial"
    " ramp ranch rapid rest ridge river road rd route row rue run shoal shore skyway spring spur square sq station"
    " stravenue stream street st summit terrace ter throughway trace track trafficway trail trl tunnel turnpike underpass"
    " union valley viaduct view village ville vista walk wall way well"
).split()
_SUFFIX = "(?:" + "|".join(sorted(((one.capitalize() + "s?") for one in _SUFFIXES), key=len, reverse=True)) + r")(?!\w)\.?"
_ALWAYS = r"(?i:street|avenue|ave|road|rd|boulevard|blvd|lane|drive|highway|parkway|trafficway|expressway|turnpike|terrace|court|way|place)(?!\w)"
UNIT: Final = (
    r"(?:[aAsSuUfFrRbB#](?<!\w.)(?i:(?<=a)p(?:t|artment)|(?<=s)(?:uite|te|tudio)|(?<=u)nit|(?<=f)l(?:at|oor)|(?<=r)(?:oom|m)|(?<=b)ldg|(?<=#))"
    r"\.?\s*#?\s*[A-Z]?-?\d[\w-]{0,5})"
)
_WORD = r"[^\W\d_a-z][\w'.-]*"
STREET: Final = (
    rf"\d{{1,6}}[A-Za-z]?(?:[-/]\d{{1,4}})?,?\s+(?:{_WORD}\s+){{1,4}}?{_SUFFIX}(?:\s*,?\s*{UNIT})?"
    rf"|\d{{2,6}}\s+(?:[^\W\d_][\w'.-]*\s+){{1,3}}?{_ALWAYS}(?:\s*,?\s*{UNIT})?"
)
"""A number, some words, and the word for a kind of street."""
