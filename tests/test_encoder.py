"""The local encoder: known similarities, a numpy implementation, and the effect of batches."""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

import qdkit
from qdkit.cli.commands import main
from qdkit.core.types import Batch, Proposal
from qdkit.feedback import Poles
from qdkit.llm import minilm as encoder
from qdkit.llm.minilm import INSTALL, MiniLM, weights_folder
from qdkit.novelty import EmbeddingDistance

needs_weights = pytest.mark.skipif(
    weights_folder() is None or not all(map(find_spec, encoder._LIBRARIES)),
    reason=f"the weights are not installed: `{INSTALL[0]}` and `{INSTALL[1]}`",
)
TEXTS = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "",
    "café [SEP] 海 \ud800 🌊",
    "salt and foam " * 20,
    "a very long text " * 300,
]


@pytest.fixture(scope="module")
def embed():
    return MiniLM()


@pytest.fixture(scope="module")
def vectors(embed):
    return embed(TEXTS)


def bert(text):
    """The same by numpy alone, one text at a time and without padding.

    Written from the paper, not from the encoder.
    """
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = weights_folder()
    w = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    ids = tokenizer.encode(text).ids
    linear = lambda x, name: x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        y = (x - x.mean(1)[:, None]) / np.sqrt(x.var(1)[:, None] + 1e-12)
        return y * w[name + ".weight"] + w[name + ".bias"]

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for i in range(6):
        name = f"encoder.layer.{i}."
        heads = []
        q, k, v = (linear(x, f"{name}attention.self.{part}") for part in ("query", "key", "value"))
        for h in range(12):
            part = slice(32 * h, 32 * h + 32)
            a = np.exp(q[:, part] @ k[:, part].T / math.sqrt(32))
            heads.append(a / a.sum(1)[:, None] @ v[:, part])
        x = norm(
            x + linear(np.concatenate(heads, 1), name + "attention.output.dense"),
            name + "attention.output.LayerNorm",
        )
        y = linear(x, name + "intermediate.dense")
        y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
        x = norm(x + linear(y, name + "output.dense"), name + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@needs_weights
def test_similarities_stay_equal_between_versions(vectors):
    """Of three sentences, as this encoder computed them when it was written.

    The numpy implementation computes the same vectors.
    """
    likeness = vectors[:3] @ vectors[:3].T
    np.testing.assert_allclose(
        likeness,
        [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]],
        atol=0.00006,
        rtol=0,
    )


@needs_weights
def test_vectors_are_those_of_a_numpy_implementation(vectors):
    """For an empty text, other scripts, texts with special tokens, and texts that are too long."""
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), 384)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, bert(text.replace("\ud800", "?")), atol=2e-6, rtol=0)


@needs_weights
def test_a_vector_does_not_depend_on_the_other_texts(embed, vectors):
    """A text has one vector, alone, in another order, or among many; no texts have none."""
    np.testing.assert_allclose(embed(TEXTS[::-1])[::-1], vectors, atol=1e-5, rtol=0)
    np.testing.assert_allclose(
        np.concatenate([embed([text]) for text in TEXTS]), vectors, atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(embed([*TEXTS[:1] * 23, *TEXTS])[23:], vectors, atol=1e-5, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embed([]).shape == (0, 384)


@needs_weights
def test_many_texts_compile_few_shapes(embed):
    """Any number and length of texts uses the same few compiled programs."""
    vectors = encoder._load(embed.folder).vectors
    for n in (1, 2, 3, 5, 9, 17, 21):
        embed([f"{'salt ' * i} and foam" for i in range(n)])
    assert vectors._cache_size() <= len(encoder._LENGTHS) * len(encoder._ROWS)


@needs_weights
@pytest.mark.parametrize(
    ("text", "same", "other"),
    [
        (
            "The ship sank in the storm.",
            "A gale took the vessel down.",
            "The ship was painted in the spring.",
        ),
        ("She wept at his grave.", "Tears fell where he was buried.", "She laughed at his joke."),
        (
            "How do I boil an egg?",
            "What is the way to cook eggs in water?",
            "How do I sell an old car?",
        ),
    ],
)
def test_a_paraphrase_is_nearer_than_the_same_words_with_another_meaning(embed, text, same, other):
    """Hashed n-grams, which compare spelling alone, get this wrong."""
    a, b, c = embed([text, same, other])
    assert a @ b > a @ c
    a, b, c = (
        row / np.linalg.norm(row) for row in qdkit.metrics.features.grams([text, same, other])
    )
    assert a @ b < a @ c


@needs_weights
def test_it_can_replace_an_embedder_in_filters_and_judges(embed):
    """Their descriptions name the model and not its folder."""
    poems = ["A gale took the vessel down.", "The ship sank in the storm.", "I like cheese."]
    batch = Batch.unevaluated(Proposal.of(poems, "test"))
    filter_ = EmbeddingDistance(embed, cosine=0.6)
    assert filter_.new(batch, 0).new.tolist() == [True, False, True]
    judgement = Poles(("death and sorrow",), ("joy and laughter",), embed)(None, batch)
    assert judgement.notes[0]["judged"]["quality"]["by"] == "poles of all-MiniLM-L6-v2"
    assert "MiniLM(all-MiniLM-L6-v2)" in repr(Poles(("a",), ("b",), embed))


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    """The libraries are an extra, and the weights a package.

    Each error gives the commands for both.
    """
    monkeypatch.setattr(encoder, "weights_folder", lambda: None)
    monkeypatch.setattr(encoder, "find_spec", lambda name: name)
    with pytest.raises(ImportError) as weights:
        MiniLM()
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="tokenizers and safetensors not installed") as libraries:
        MiniLM()
    for command in INSTALL:
        assert command in str(weights.value) and command in str(libraries.value)


def test_the_code_of_the_package_of_weights_is_not_run(monkeypatch, tmp_path):
    """It is located by its name; importing it has no effect."""
    package = tmp_path / encoder._PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights_folder() == package / "model"


@needs_weights
@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("config.json", {"model_type": "roberta"}, "another form than BERT's"),
        ("config.json", {"hidden_act": "relu"}, "another form than BERT's"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False},
            "otherwise than by the mean",
        ),
        ("tokenizer.json", None, "it has no tokenizer.json"),
    ],
)
def test_a_folder_with_another_kind_of_model_raises(tmp_path, name, change, why):
    """Before any vectors are computed."""
    folder = copied(tmp_path)
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | change))
    with pytest.raises(ValueError, match=why):
        MiniLM(folder)


@needs_weights
def test_other_weights_have_another_name(tmp_path, embed, vectors):
    """Their vectors are not taken for those of the published weights.

    A copy of the published weights has the same name in any folder.
    """
    folder = copied(tmp_path)
    assert (
        MiniLM(folder) != embed
        and MiniLM(folder).model == embed.model
        and repr(MiniLM(folder)) == repr(embed)
    )
    other = copied(tmp_path / "more")
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text() + "\n")
    assert MiniLM(other).model.startswith("weights-") and MiniLM(other).model != embed.model


def copied(place):
    """A folder with links to the weights."""
    folder = place / "weights"
    (folder / "1_Pooling").mkdir(parents=True)
    for name in (*encoder._FILES, "1_Pooling/config.json", "sentence_bert_config.json"):
        if name == "model.safetensors":
            (folder / name).symlink_to(weights_folder() / name)
        else:
            shutil.copy(weights_folder() / name, folder / name)
    return folder


def test_the_doctor_reports_the_weights(capsys, monkeypatch, tmp_path):
    """Published, other, or not installed, with both commands."""

    def report():
        with pytest.raises(SystemExit):
            main(["doctor"])
        return " ".join(capsys.readouterr().out.split())

    monkeypatch.setattr(encoder, "weights_folder", lambda: None)
    assert all(command in report() for command in INSTALL)
    for name in encoder._FILES:
        (tmp_path / name).write_text('{"model_type": "bert", "hidden_act": "gelu"}')
    monkeypatch.setattr(encoder, "weights_folder", lambda: tmp_path)
    monkeypatch.setattr(encoder, "find_spec", lambda name: name)
    assert "other weights than the published" in report()
    monkeypatch.setattr(encoder, "is_published", lambda folder: True)
    assert "the published weights" in report()
