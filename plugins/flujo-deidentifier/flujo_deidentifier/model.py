"""Model: the Rampart weights, run by onnxruntime on one thread, and the words of a text as it labels them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions  # pyright: ignore[reportAttributeAccessIssue] - it has no types
from tokenizers import Encoding, Tokenizer

WINDOW: Final = 126
"""Tokens that the model sees at once; longer texts are cut at the ends of sentences where there are any."""
OVERLAP: Final = 24
"""Tokens that two windows have in common where a sentence had to be cut."""
FLOOR: Final = 0.05
"""The least score of a word that is told."""

LABEL_OF: Final = {
    "GIVEN_NAME": "PERSON",
    "SURNAME": "PERSON",
    "EMAIL": "EMAIL",
    "PHONE": "PHONE",
    "URL": "URL",
    "TAX_ID": "SSN",
    "BANK_ACCOUNT": "ID",
    "ROUTING_NUMBER": "ID",
    "GOVERNMENT_ID": "ID",
    "PASSPORT": "ID",
    "DRIVERS_LICENSE": "ID",
    "BUILDING_NUMBER": "ADDRESS",
    "STREET_NAME": "ADDRESS",
    "SECONDARY_ADDRESS": "ADDRESS",
    "CITY": "LOCATION",
    "STATE": "LOCATION",
    "ZIP_CODE": "ADDRESS",
}
"""The labels of the model, in our words."""


class Scored(NamedTuple):
    """A word of a text, and what the model takes it for.

    Attributes:
        start: Where it begins.
        end: Where it ends, exclusive.
        label: The most probable label, in our words.
        score: How probable it is that the word has any label.
    """

    start: int
    end: int
    label: str
    score: float


class Model:
    """The model and its tokenizer.

    Args:
        directory: Where ``config.json``, ``tokenizer.json`` and ``onnx/model_q4.onnx`` are.
    """

    def __init__(self, directory: Path) -> None:
        labels = json.loads((directory / "config.json").read_text(encoding="utf8"))["id2label"]
        plain = [LABEL_OF.get(labels[str(number)][2:], "") for number in range(len(labels))]
        self._labels = sorted(set(plain) - {""})
        # Sums the probabilities of B- and I-, and of what is one label to us.
        self._sums = np.array([[one == label for label in self._labels] for one in plain], dtype=np.float32)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._first = self._tokenizer.token_to_id("[CLS]")
        self._last = self._tokenizer.token_to_id("[SEP]")
        options = SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        weights = in_eight_bits(onnx.load(directory / "onnx" / "model_q4.onnx")).SerializeToString()
        self._session = InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def words(self, text: str) -> list[Scored]:
        """The words of a text that may have a label, in order."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if not encoding.ids:
            return []
        sums = self._scores(encoding, text)
        return list(self._grouped(encoding, sums))

    def _scores(self, encoding: Encoding, text: str) -> NDArray[np.float32]:
        """The probability of each label, for each token."""
        ids = encoding.ids
        found = np.zeros((len(ids), len(self._labels)), dtype=np.float32)
        for start, end in _windows(encoding.offsets, text):
            given = np.array([[self._first, *ids[start:end], self._last]], dtype=np.int64)
            feed = {"input_ids": given, "attention_mask": np.ones_like(given), "token_type_ids": np.zeros_like(given)}
            (logits,) = self._session.run(["logits"], feed)
            sums = _softmax(np.asarray(logits)[0, 1:-1]) @ self._sums
            # Where windows overlap, the more probable label counts: a miss costs more than a find.
            np.maximum(found[start:end], sums, out=found[start:end])
        return found

    def _grouped(self, encoding: Encoding, sums: NDArray[np.float32]) -> Iterator[Scored]:
        """Tokens joined to words: a word has the label that its tokens have most of, and its highest score."""
        offsets, words = encoding.offsets, encoding.word_ids
        total = sums.sum(axis=1)
        likely = np.flatnonzero(total >= FLOOR)
        done = -1
        for token in likely.tolist():
            if token <= done:
                continue
            start = end = token
            while start and words[start - 1] == words[token]:
                start -= 1
            while end + 1 < len(words) and words[end + 1] == words[token]:
                end += 1
            done = end
            label = self._labels[int(sums[start : end + 1].sum(axis=0).argmax())]
            yield Scored(offsets[start][0], offsets[end][1], label, float(total[start : end + 1].max()))


def _windows(offsets: list[tuple[int, int]], text: str) -> Iterator[tuple[int, int]]:
    start, count = 0, len(offsets)
    while start < count:
        end = min(start + WINDOW, count)
        if end == count:
            yield start, end
            return
        cut = end
        while cut > start + WINDOW // 2 and not _ends(text, offsets[cut - 1][1], offsets[cut][0]):
            cut -= 1
        if cut > start + WINDOW // 2:
            yield start, cut
            start = cut
        else:
            yield start, end
            start = end - OVERLAP


def _ends(text: str, end: int, following: int) -> bool:
    """Whether a sentence or a paragraph ends between two tokens."""
    return "\n" in text[end:following] or (
        (end < following and text[end - 1] in "?!") or text[end - 2 : end] in (").", '".')
    )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    risen: NDArray[np.float32] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = risen / risen.sum(axis=-1, keepdims=True)
    return shares


def in_eight_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with weights of eight bits in the place of four, in memory only: twice as fast, and as exact.

    A processor has instructions for products of eight bits; those of four are unpacked to floats first.
    """
    stored = {one.name: one for one in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(_eight_bits(node, stored) if node.op_type == "MatMulNBits" else node)
    used = {name for node in nodes for name in node.input}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(one for name, one in stored.items() if name in used)
    return model


def _eight_bits(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> onnx.NodeProto:
    sizes = {one.name: one.i for one in node.attribute}
    halves = numpy_helper.to_array(stored[node.input[1]])
    scales = numpy_helper.to_array(stored[node.input[2]])
    zeros = numpy_helper.to_array(stored[node.input[3]]) if len(node.input) > 3 and node.input[3] else None
    weights = _floats(halves, scales, zeros, sizes)
    scale = np.abs(weights).max(axis=0) / 127
    scale[scale == 0] = 1
    made = {
        "weights": np.clip(np.round(weights / scale), -127, 127).astype(np.int8),
        "scale": scale.astype(np.float32),
        "zero": np.zeros(sizes["N"], np.int8),
    }
    for name, values in made.items():
        stored[f"{node.output[0]}_{name}"] = numpy_helper.from_array(values, f"{node.output[0]}_{name}")
    inputs = [node.input[0], *(f"{node.output[0]}_{name}" for name in made)]
    return helper.make_node("DynamicQuantizeMatMul", inputs, list(node.output), domain="com.microsoft")


def _floats(
    halves: NDArray[np.uint8], scales: NDArray[np.float32], zeros: NDArray[np.uint8] | None, sizes: dict[str, int]
) -> NDArray[np.float32]:
    """The weights of a matrix, of K rows and N columns, that are stored in blocks of four bits, column by column."""
    columns, blocks = halves.shape[0], halves.shape[1]
    values = np.stack([halves & 15, halves >> 4], -1).reshape(columns, blocks, sizes["block_size"]).astype(np.float32)
    zero = np.float32(8) if zeros is None else _zeros(zeros, columns, blocks)
    weights: NDArray[np.float32] = (values - zero) * scales.reshape(columns, blocks, 1)
    return weights.reshape(columns, -1)[:, : sizes["K"]].T


def _zeros(zeros: NDArray[np.uint8], columns: int, blocks: int) -> NDArray[np.float32]:
    packed = zeros.reshape(columns, -1)
    values = np.stack([packed & 15, packed >> 4], -1).reshape(columns, -1)[:, :blocks]
    return values.astype(np.float32)[..., None]
