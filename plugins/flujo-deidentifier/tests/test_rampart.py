"""The model: what it adds, what it is not asked, and that its eight bits say what its four say."""

import pickle
import threading

import pytest
from flujo_deidentifier import Finder, Span
from flujo_deidentifier.rampart import RampartDetector, doubtful, installed

pytestmark = pytest.mark.skipif(not installed(), reason="the weights of Rampart are not installed")


@pytest.fixture(scope="module")
def detector() -> RampartDetector:
    return RampartDetector()


def test_names_that_are_on_no_list_are_found(detector: RampartDetector) -> None:
    text = "hi this is zehaan bahri, i live at 12 gutknechtring in kvaløysletta"
    found = " ".join(
        text[span.start : span.end] for span in Finder("gdpr", detectors=["patterns", detector]).find(text)
    )
    assert "zehaan bahri" in found and "gutknechtring" in found


def test_everyday_sentences_are_not_shown_to_the_model() -> None:
    text = "How do I open my account? My name is Zehaan. It was on the table."
    assert [text[start:end] for start, end in doubtful(text)] == ["My name is Zehaan."]
    assert list(doubtful(text, [Span(37, 43, "PERSON", 0.9)])) == []


def test_a_long_text_is_looked_at_in_windows(detector: RampartDetector) -> None:
    text = "xyzzy qwop " * 300 + "signed Zehaan Bahri " + "xyzzy qwop " * 300
    assert any("Zehaan" in text[span.start : span.end] for span in detector.detect(text))


def test_it_may_be_asked_from_several_threads(detector: RampartDetector) -> None:
    text, answers = "Driver Janaki Singh denies it.", []
    threads = [threading.Thread(target=lambda: answers.append(list(detector.detect(text)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4 and all(answer == answers[0] for answer in answers)


def test_it_survives_pickling(detector: RampartDetector) -> None:
    assert pickle.loads(pickle.dumps(detector)).directory == detector.directory
