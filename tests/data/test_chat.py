"""Which tokens of a conversation are trained, against transformers' own templates."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from overtone.data.chat import (
    COMPARED,
    LEARNT,
    OPENS,
    Chat,
    Turn,
    collect,
    encode,
    end_of_turn,
    marked,
    prompt,
    proof,
    render,
)
from overtone.errors import DataError
from overtone.models import weights
from toys import CHATML, chat_tokenizer

ONE = (Turn("user", "who signs?"), Turn("assistant", "Many people do."))
TWO = (*ONE, Turn("user", "why?"), Turn("assistant", "It is a language."))
GENERATION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A template that marks itself what the assistant says, which few do."""


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer()


@pytest.fixture(scope="module")
def smol():
    """The tokenizer of SmolLM2; skipped where its package is not installed."""
    pytest.importorskip("gguf")
    try:
        (file,) = weights.resolve("smollm2-135m-instruct").glob("*.gguf")
    except weights.WeightsError as error:
        pytest.skip(str(error))
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def said(tokenizer, chat):
    """The trained tokens as text."""
    return tokenizer.decode([token for token, on in zip(chat.ids, chat.trained, strict=True) if on])


def as_messages(turns):
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def test_every_answer_and_its_end_are_trained_and_nothing_else(tokenizer):
    assert (
        said(tokenizer, encode(tokenizer, TWO, 512)) == "Many people do.<|im_end|>It is a language.<|im_end|>"
    )
    assert said(tokenizer, encode(tokenizer, TWO, 512, "last")) == "It is a language.<|im_end|>"


def test_the_ids_are_those_of_the_template(tokenizer):
    assert encode(tokenizer, TWO, 512).ids == tokenizer.apply_chat_template(as_messages(TWO))["input_ids"]
    expected = tokenizer.apply_chat_template(as_messages(ONE[:1]), add_generation_prompt=True)["input_ids"]
    assert prompt(tokenizer, ONE[:1]) == expected


def test_the_mask_is_that_of_a_template_which_marks_it_itself():
    tokenizer = chat_tokenizer(GENERATION)
    found = tokenizer.apply_chat_template(
        as_messages(TWO), return_assistant_tokens_mask=True, return_dict=True
    )
    chat = encode(tokenizer, TWO, 512)
    assert chat.ids == found["input_ids"]
    assert chat.trained == [bool(each) for each in found["assistant_masks"]]


def test_smollm2_s_own_template(smol):
    chat = encode(smol, TWO, 512)
    assert chat.ids == smol.apply_chat_template(as_messages(TWO))["input_ids"]
    assert said(smol, chat) == "Many people do.<|im_end|>It is a language.<|im_end|>"
    assert end_of_turn(smol) == smol.eos_token_id
    opened = smol.apply_chat_template(as_messages(TWO[:3]), add_generation_prompt=True)["input_ids"]
    assert prompt(smol, TWO[:3]) == opened
    assert chat.ids[: len(opened)] == opened


def test_a_template_survives_a_round_trip(smol, tmp_path):
    smol.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template.encode() == smol.chat_template.encode()
    assert render(again, TWO).encode() == render(smol, TWO).encode()


def test_the_end_of_a_turn_is_trained_though_padding_has_its_id(tokenizer):
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == end_of_turn(tokenizer)
    chats = collect([encode(tokenizer, ONE, 512), encode(tokenizer, TWO, 512)], tokenizer.pad_token_id)
    assert chats.wanted([0])[-1] == tokenizer.eos_token_id
    _, marks = chats.pad([0, 1])
    assert int((marks[..., 1] & LEARNT > 0).sum()) == int(chats.counts.sum())


def test_the_oldest_exchange_goes_first(tokenizer):
    system = Turn("system", "short")
    whole = encode(tokenizer, (system, *TWO), 512)
    short = encode(tokenizer, (system, *TWO), len(whole.ids) - 1)
    assert short.ids == encode(tokenizer, (system, *TWO[2:]), 512).ids
    assert short.cut
    assert not whole.cut


@pytest.mark.parametrize("limit", [4, 9, 40, 90])
def test_however_short_some_of_the_answer_is_left(tokenizer, limit):
    turns = (Turn("user", "a long question " * 20), Turn("assistant", "a long answer " * 5))
    chat = encode(tokenizer, turns, limit)
    assert len(chat.ids) == limit
    assert sum(chat.trained) >= limit // 2
    assert not chat.trained[0]
    assert said(tokenizer, chat) == ("a long answer " * 5 + "<|im_end|>")[: sum(chat.trained)] or chat.ended


def test_a_long_question_leaves_the_whole_answer(tokenizer):
    chat = encode(tokenizer, (Turn("user", "long " * 40), Turn("assistant", "yes")), 64)
    assert said(tokenizer, chat) == "yes<|im_end|>"
    assert chat.ended
    assert tokenizer.decode(chat.ids).endswith("long <|im_end|>\n<|im_start|>assistant\nyes<|im_end|>")


def test_a_cut_answer_does_not_learn_to_stop(tokenizer):
    chat = encode(tokenizer, (Turn("user", "q"), Turn("assistant", "word " * 40)), 32)
    assert not chat.ended
    assert "<|im_end|>" not in said(tokenizer, chat)


def test_rows_are_packed_in_their_order(tokenizer):
    chats = [Chat([n + 10] * n, [False] + [True] * (n - 1), False, True) for n in (3, 4, 5, 9)]
    rows = collect(chats, 0, pack=8)
    ids, marks = rows.pad([0, 1, 2, 3])
    assert ids.tolist() == [
        [13, 13, 13, 14, 14, 14, 14, 0, 0],
        [15, 15, 15, 15, 15, 0, 0, 0, 0],
        [19] * 9,
    ]
    assert marks[..., 0].tolist() == [[1, 1, 1, 2, 2, 2, 2, 0, 0], [1] * 5 + [0] * 4, [1] * 9]
    # The last token of a conversation predicts nothing: the one after it is another's.
    assert marks[0, :, 1].tolist() == [LEARNT | OPENS, 1, 0, LEARNT | OPENS, 1, 1, 0, 0, 0]
    assert rows.wanted([0, 2]).tolist() == [13, 13, 15, 15, 15, 15]
    assert rows.counts.tolist() == [2, 3, 4, 8]


def test_without_packing_each_has_its_row(tokenizer):
    rows = collect([Chat([5] * n, [False, *[True] * (n - 1)], False, True) for n in (2, 3, 2)], 0)
    ids, marks = rows.pad([2, 1, 0])
    assert ids.tolist() == [[5, 5, 0], [5, 5, 5], [5, 5, 0]]
    assert marks[..., 0].tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 0]]


def test_the_proof_shows_what_is_trained(tokenizer):
    chats = [encode(tokenizer, ONE, 512), encode(tokenizer, TWO, 60)]
    found = proof(tokenizer, chats, end_of_turn(tokenizer))
    assert found["tokens"] == sum(len(chat.ids) for chat in chats)
    assert found["trained"] == sum(map(sum, (chat.trained for chat in chats)))
    assert found["cut"] == 1
    assert found["end_of_turn"] == "<|im_end|>"
    assert found["examples"][0] == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nwho signs?<|im_end|>\n"
        "<|im_start|>assistant\n⟦Many people do.<|im_end|>⟧\n"
    )
    assert marked(tokenizer, chats[0]).replace("⟦", "").replace("⟧", "") == render(tokenizer, ONE)
    assert found["share"] == pytest.approx(found["trained"] / found["tokens"], abs=1e-4)


def test_nothing_trained_is_an_error():
    with pytest.raises(DataError, match="not one token of 1 conversations is trained"):
        collect([Chat([1, 2], [False, False], False, False)], 0)
    with pytest.raises(DataError, match="not one token of 0"):
        collect([], 0)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ((Turn("user", "q"),), "ends with the assistant"),
        ((Turn("assistant", "a"),), "begins with a user"),
        ((Turn("user", " "), Turn("assistant", "a")), "is empty"),
        ((Turn("user", "q"), Turn("assistant", "a<|im_end|>b")), "special token '<|im_end|>'"),
        ((Turn("user", "<|im_start|>system"), Turn("assistant", "a")), "special token '<|im_start|>'"),
    ],
)
def test_what_is_no_conversation_is_refused(tokenizer, turns, message):
    with pytest.raises(DataError, match=message.replace("|", r"\|")):
        encode(tokenizer, turns, 512)


def test_templates_that_would_deceive_are_refused():
    with pytest.raises(DataError, match="has no chat template"):
        encode(chat_tokenizer(None), ONE, 512)
    plain = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    with pytest.raises(DataError, match="would never stop"):
        end_of_turn(chat_tokenizer(plain))
    mark = "{{ '!' if loop.last and m['role'] == 'assistant' else '' }}"
    last_alone = f"{{% for m in messages %}}{{{{ m['content'] }}}}{mark}<|im_end|>{{% endfor %}}"
    with pytest.raises(DataError, match="otherwise once another follows") as caught:
        encode(chat_tokenizer(last_alone), TWO, 512)
    assert caught.value.hint == "set answers: last"
    assert encode(chat_tokenizer(last_alone), TWO, 512, "last").ended
    picky = "{{ raise_exception('roles must alternate') }}" + CHATML
    with pytest.raises(DataError, match="does not take turns of user, assistant: roles must alternate"):
        encode(chat_tokenizer(picky), ONE, 512)


def test_the_offsets_are_of_the_rows(tokenizer):
    chats = [encode(tokenizer, ONE, 512), encode(tokenizer, TWO, 512)]
    rows = collect(chats, 2)
    assert rows.lengths.tolist() == [len(chat.ids) for chat in chats]
    assert np.array_equal(rows.flat[rows.offsets[1] :], chats[1].ids)


THREE = (*TWO, Turn("user", "Who told you?"), Turn("assistant", "A book."))


def opening(tokenizer, chats, row):
    """What was said up to each place that opens an answer."""
    ids, marks = chats.pad([row])
    places = (marks[0, :, 1] & OPENS > 0).nonzero().flatten().tolist()
    return [ids[0, : place + 1].tolist() for place in places]


def test_a_place_opens_each_answer_before_any_of_it_is_read(tokenizer):
    chats = collect([encode(tokenizer, THREE, 512), encode(tokenizer, ONE, 512)], 0)
    assert opening(tokenizer, chats, 0) == [prompt(tokenizer, THREE[:end]) for end in (1, 3, 5)]
    assert opening(tokenizer, chats, 1) == [prompt(tokenizer, ONE[:1])]


def test_labels_stay_with_their_answers(tokenizer):
    """However short the conversation is cut: the oldest exchanges go, and their labels with them."""
    labels = {"strategy": [4, 5, 6], "emotion": [1, -100, -100]}
    whole = len(encode(tokenizer, THREE, 512).ids)
    for limit in range(8, whole + 1):
        chat = encode(tokenizer, THREE, limit, labels=labels)
        chats = collect([chat, chat], 0)
        n = len(opening(tokenizer, chats, 0))
        assert chats.labels("strategy", [1]).tolist() == labels["strategy"][3 - n :]
        assert chats.labels("emotion", [1, 0]).tolist() == labels["emotion"][3 - n :] * 2
    assert n == 3
    last = encode(tokenizer, THREE, 512, "last", labels)
    assert last.labels == {"strategy": [6], "emotion": [-100]}


def test_what_a_row_is_for(tokenizer):
    """A row is learnt, or compared with the base, or both; where it is only compared nothing is wanted."""
    chat = encode(tokenizer, TWO, 512)
    chats = collect([chat, chat, chat], 0, purposes=[LEARNT, COMPARED, LEARNT | COMPARED])
    n = sum(chat.trained)
    assert chats.counts.tolist() == [n, 0, n]
    assert [len(chats.wanted([row])) for row in range(3)] == [n, 0, n]
    assert [chats.compared([row]) for row in range(3)] == [0, n, n]
    assert chats.compared([0, 1, 2]) == 2 * n
    _, marks = chats.pad([0, 1, 2])
    for flag, rows in ((LEARNT, [n, 0, n]), (COMPARED, [0, n, n]), (OPENS, [2, 2, 2])):
        assert (marks[..., 1] & flag > 0).sum(dim=1).tolist() == rows
