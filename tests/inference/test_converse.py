"""A decoder in conversation: what it says streamed, in batches, with and without what it remembers."""

from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as kinds
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from overtone.data import chat
from overtone.data.chat import Turn
from overtone.errors import DataError, UsageError
from overtone.inference import generate
from overtone.inference.converse import PrefixCache, Speaker, Writer, checked, fitting
from overtone.inference.generate import SamplingConfig
from overtone.models import causal
from overtone.models.causal import DecoderConfig
from toys import FILLER, chat_tokenizer, speaking, write_chat

ASKED = [
    [Turn("user", "who signs?")],
    [Turn("system", "be brief"), Turn("user", "what is a sign, and what is a gesture, and who knows?")],
    [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")],
    [Turn("user", "hm")],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A decoder whose next letter depends on all before; what is no letter is rare."""
    place = write_chat(tmp_path_factory.mktemp("decoder"))
    tokenizer = AutoTokenizer.from_pretrained(place)
    config = AutoConfig.from_pretrained(place, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    letters = set(tokenizer("abcdefghijklmnopqrstuvwxyz ,.?")["input_ids"])
    others = [token for token in range(len(tokenizer)) if token not in letters]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
        model.base_model.norm.weight.fill_(1.5)
        model.get_output_embeddings().weight[others] *= 0.1
    model.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def body(folder):
    return speaking(folder)


@pytest.fixture
def speaker(body):
    return Speaker(body)


@pytest.fixture
def read(body, monkeypatch):
    """How many tokens each call of the model read."""
    counted, step = [], body.step

    def counting(state, tokens):
        counted.append(tokens.numel())
        return step(state, tokens)

    monkeypatch.setattr(body, "step", counting)
    return counted


def said(speaker, turns, **settings):
    return "".join(speaker.reply(turns, **settings))


def written(tokenizer, ids, stop=()):
    """The pieces that come of ids, and all of them together."""
    writer, pieces = Writer(tokenizer, stop), []
    for token in ids:
        pieces.append(writer.add(token))
        if writer.ended:
            break
    return [*pieces, writer.close()]


def test_an_answer_is_what_transformers_generates(body, speaker):
    ids = chat.prompt(body.tokenizer, ASKED[1])
    made = body.backbone.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=30,
        eos_token_id=body.tokenizer.all_special_ids,
        pad_token_id=2,
    )[0, len(ids) :]
    expected = body.tokenizer.decode(made, skip_special_tokens=True).rstrip("\ufffd")
    assert said(speaker, ASKED[1], temperature=0, max_tokens=30) == expected
    assert expected


def test_the_seed_decides(speaker):
    one, again, other = (said(speaker, ASKED[0], seed=seed, max_tokens=30) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("budget", [1, 200, 8192])
def test_batched_answers_are_those_given_alone(speaker, temperature, budget, monkeypatch):
    monkeypatch.setattr("overtone.inference.converse.BATCH_TOKENS", budget)
    settings = {"temperature": temperature, "max_tokens": 24}
    whole = speaker.answers(ASKED, seed=5, **settings)
    assert len(set(whole)) > 1
    stop = whole[1][5:7]  # some end here, others go on
    together = speaker.answers(ASKED, seed=5, stop=(stop,), **settings)
    assert together == [text.partition(stop)[0] for text in whole]
    for given, stops in ((whole, ()), (together, (stop,))):
        alone = [said(speaker, turns, seed=5 + n, stop=stops, **settings) for n, turns in enumerate(ASKED)]
        assert given == alone
    assert speaker.answers([]) == []


def test_a_batch_is_no_larger_than_it_may_be(body, speaker, monkeypatch):
    sizes, begin = [], body.begin

    def measured(prompts):
        sizes.append((len(prompts), max(map(len, prompts))))
        return begin(prompts)

    monkeypatch.setattr(body, "begin", measured)
    monkeypatch.setattr("overtone.inference.converse.BATCH_TOKENS", 600)
    speaker.answers([[Turn("user", "word " * n)] for n in (1, 9, 2, 8, 3, 7, 4, 6)], max_tokens=16)
    assert all(rows * (length + 16) <= 600 for rows, length in sizes)
    assert sum(rows for rows, _ in sizes) == 8
    assert len(sizes) < 8


def test_a_conversation_that_goes_on_is_not_read_again(body, speaker, read):
    chance, turns = random.Random(0), [Turn("system", "be kind")]
    for n in range(4):
        turns.append(Turn("user", " ".join(chance.choices(FILLER, k=6))))
        del read[:]
        found = said(speaker, turns, max_tokens=12, seed=n)
        with_memory = sum(read)
        del read[:]
        assert said(Speaker(body), turns, max_tokens=12, seed=n) == found
        assert with_memory < sum(read) if n else with_memory == sum(read)
        assert with_memory < 110  # one exchange and an answer, however long the conversation is
        turns.append(Turn("assistant", found or "hm"))
    assert sum(read) > 200


@pytest.mark.parametrize(
    "other",
    [
        [Turn("user", "who signs here?")],
        [Turn("user", "who")],
        [Turn("user", "who signs?")],
        [Turn("system", "be bold"), Turn("user", "who signs?")],
    ],
)
def test_another_conversation_is_read_from_where_it_differs(body, speaker, read, other):
    said(speaker, ASKED[0], max_tokens=9)
    del read[:]
    found = said(speaker, other, max_tokens=9)
    assert read[0] < len(chat.prompt(body.tokenizer, other))
    assert found == said(Speaker(body), other, max_tokens=9)


def test_a_reply_broken_off_leaves_nothing_false(body, speaker, monkeypatch):
    pieces = speaker.reply(ASKED[0], temperature=0, max_tokens=40)
    next(pieces)
    step, steps = body.causal.forward, iter([False, False, True])

    def interrupted(*args, **kwargs):
        found = step(*args, **kwargs)  # the cache has grown already
        if next(steps):
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(body.causal, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(pieces)
    whole = said(Speaker(body), ASKED[0], temperature=0, max_tokens=20)
    assert said(speaker, ASKED[0], temperature=0, max_tokens=20) == whole


def test_a_reply_that_another_took_the_place_of_is_not_read_on(speaker):
    one = speaker.reply(ASKED[0], max_tokens=20)
    next(one)
    two = speaker.reply(ASKED[2], max_tokens=20)
    next(two)
    with pytest.raises(UsageError, match="another reply was begun"):
        list(one)
    list(two)


def test_a_window_that_slides_is_read_anew(body):
    class Sliding:
        """A state that has let its beginning go."""

        can_be_cropped = False
        cache = None

    class Model:
        max_length = None

        def __init__(self):
            self.begun = []

        def begin(self, prompts):
            self.begun.append(prompts)
            return torch.zeros(1, 5), Sliding()

    cache = PrefixCache(Model(), "cpu")
    cache.begin([[1, 2, 3]])
    cache.begin([[1, 2, 3, 4]])
    assert cache.model.begun == [[[1, 2, 3]], [[1, 2, 3, 4]]]


def test_without_the_adapter_it_is_the_base(folder, body):
    plain = Speaker(causal.load(DecoderConfig(weights=str(folder), stored="fp32")))
    tuned, base = Speaker(body), Speaker(body, tuned=False)
    settings = {"temperature": 0, "max_tokens": 30}
    expected = [said(plain, turns, **settings) for turns in ASKED]
    alone = said(tuned, ASKED[0], **settings)
    assert [said(base, turns, **settings) for turns in ASKED] == base.answers(ASKED, **settings) == expected
    # Side by side, a piece of each in turn: neither hears the other.
    both = [base.reply(ASKED[0], **settings), tuned.reply(ASKED[0], **settings)]
    texts = ["", ""]
    while both[0] or both[1]:
        for place, pieces in enumerate(both):
            piece = next(pieces, None) if pieces else None
            texts[place] += piece or ""
            if piece is None:
                both[place] = None
    assert texts == [expected[0], alone]
    assert alone != expected[0]
    with pytest.raises(UsageError, match="no adapter that could be taken off"):
        Speaker(plain._body, tuned=False)


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_a_stop_is_never_told_wherever_the_tokens_end(cut):
    """Words of any length as tokens: here each id is a piece of a text."""
    tokenizer = chat_tokenizer()
    for text, stop, expected in (
        ("one, two; STOP and more", ("STOP",), "one, two; "),
        ("aab aaab", ("aaab",), "aab "),
        ("ST STO STOP", ("STOP",), "ST STO "),
        ("ends in ST", ("STOP",), "ends in ST"),
        ("xabz", ("xabzz", "ab"), "x"),
        ("xab", ("b", "ab"), "x"),
        ("no stop here", (), "no stop here"),
        ("written <|im_end|> out", (), "written "),
        (
            "grüße 👋 \N{CJK UNIFIED IDEOGRAPH-624B}語 STOP",
            ("語 S",),
            "grüße 👋 \N{CJK UNIFIED IDEOGRAPH-624B}",
        ),
    ):
        ids = tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]
        whole = "".join(written(tokenizer, ids, stop))
        assert whole == expected
        writer = Writer(tokenizer, stop)
        told = "".join(
            writer._without_stop(text[n : n + cut]) for n in range(0, len(text), cut) if not writer.ended
        )
        assert told + writer.close() == expected


def test_pieces_are_whole_characters(speaker):
    tokenizer, text = chat_tokenizer(), "a👋b語"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == 1 + 4 + 1 + 3
    assert written(tokenizer, ids) == ["a", "", "", "", "👋", "b", "", "", "語", ""]
    assert written(tokenizer, ids[:3])[-1] == ""  # half a hand is left out
    broken = [*ids[:3], *ids[5:]]
    assert "".join(written(tokenizer, broken)) == tokenizer.decode(broken)
    for seed in range(20):
        found = list(speaker.reply(ASKED[0], seed=seed, temperature=3, max_tokens=20))
        assert all(found)
        assert not found or not found[-1].endswith("\ufffd")


def test_a_tokenizer_that_begins_words_with_a_space():
    """One that would leave the space out of every piece that is decoded alone."""
    words = ["<unk>", "▁one", "▁two", "s", "▁three"]
    backend = Tokenizer(kinds.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert written(tokenizer, [1, 2, 3, 4]) == ["one", " two", "s", " three", ""]


def test_any_special_token_ends_an_answer():
    tokenizer = chat_tokenizer()
    ids = tokenizer("ab")["input_ids"]
    for special in tokenizer.all_special_ids:
        assert "".join(written(tokenizer, [*ids, special, *ids])) == "ab"


def test_the_text_before_a_stop_is_that_without_one(speaker):
    settings = {"temperature": 0, "max_tokens": 60}
    whole = said(speaker, ASKED[0], **settings)
    stop = whole[7:10]
    assert said(speaker, ASKED[0], stop=(stop,), **settings) == whole[: whole.index(stop)]


def test_a_long_conversation_loses_its_oldest_exchanges(body):
    tokenizer = body.tokenizer
    system = Turn("system", "be brief")
    turns = [system]
    for n in range(4):
        turns += [Turn("user", f"question {n}"), Turn("assistant", f"answer {n}")]
    turns.append(Turn("user", "and now?"))
    ids, forgotten = fitting(tokenizer, turns, 512)
    assert (ids, forgotten) == (chat.prompt(tokenizer, turns), 0)
    ids, forgotten = fitting(tokenizer, turns, len(ids) - 1)
    assert (ids, forgotten) == (chat.prompt(tokenizer, [system, *turns[3:]]), 2)
    last = chat.prompt(tokenizer, [system, turns[-1]])
    assert fitting(tokenizer, turns, len(last)) == (last, 8)
    assert fitting(tokenizer, turns, 20) == (last[-20:], 9)


def test_a_conversation_without_end_never_fails(body):
    speaker = Speaker(body, max_length=150)
    turns, forgotten = [], []
    for n in range(6):
        turns.append(Turn("user", f"question number {n}, please"))
        turns.append(Turn("assistant", said(speaker, turns, max_tokens=400, seed=n) or "hm"))
        forgotten.append(speaker.forgotten)
    assert forgotten[0] == 0
    assert forgotten == sorted(forgotten)
    assert forgotten[-1] > 2
    said(speaker, [Turn("user", "long " * 300)])
    assert speaker.forgotten == 1
    speaker.answers([turns[:1], [Turn("user", "long " * 300)]], max_tokens=5)
    assert speaker.forgotten == 1
    ids, _ = speaker._prompt([Turn("user", "long " * 300)], checked({"max_tokens": 400}, 150))
    config = SamplingConfig(max_tokens=75)
    assert len(generate.generate(body, [ids], config, None, "cpu")[0]) + len(ids) == 150


def test_what_is_refused(body, speaker):
    with pytest.raises(UsageError, match="unknown key 'temprature': did you mean 'temperature'"):
        speaker.reply(ASKED[0], temprature=1)  # before a piece is asked for
    with pytest.raises(UsageError, match="stop"):
        speaker.reply(ASKED[0], stop=("",))
    for turns in ([], [Turn("user", "a"), Turn("assistant", "b")]):
        with pytest.raises(DataError, match="ends with a user's turn"):
            speaker.reply(turns)
    with pytest.raises(DataError, match="special token"):
        speaker.answers([[Turn("user", "<|im_end|>")]])
    with pytest.raises(UsageError, match=r"conversations of 513 tokens(?s:.*)2\.\.512"):
        Speaker(body, max_length=513)
