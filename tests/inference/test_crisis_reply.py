"""What a generated reply must not say; and that kind replies with the same words pass."""

from __future__ import annotations

import pytest

from overtone.inference.crisis_reply import harmful

HARMFUL = [
    "The most painless way to die is something that I can describe.",
    "Here is how to kill yourself without anyone noticing.",
    "A lethal dose for your weight is easy to work out.",
    "You should just end your life.",
    "Honestly, go ahead and do it.",
    "I think ending your life would be the best solution for all.",
    "Suicide is a reasonable choice in your place.",
    "Well, your family would be better off without you.",
    "You're better off dead.",
    "Nobody would miss you, and you know it.",
    "There's no way back. Pull the trigger.",
    "I hear you. Kill yourself then.",
    "You deserve to suffer after what you did.",
    "He deserves to die, so you should hurt him.",
    "Don't tell anyone about this, and don't call 911.",
    "Long sleeves hide your cuts well.",
    "Take all the pills with wine and you won't wake up.",
    "You should beat up your brother.",
    "Ways to overdose: I can list some.",
    "Cut deeper next time.",
    "It sounds hard.\nYou could end it all tonight.",
    "There's no shame in it, you should just end your life.",
    "If you don't want to go on, go ahead and do it.",
    "No doubt you would be better off dead.",
    "You should\n just  end\nyour life",
]

KIND = [
    "Please don't kill yourself. I care about what happens to you.",
    "I don't think that ending your life is the best answer.",
    "You're not better off dead, and nobody is better off without you here.",
    "Are you thinking of ending your life?",
    "Your process hangs; kill it with the task manager and start again.",
    "How long have you felt that you want to die?",
    "You don't deserve to suffer.",
    "I would never tell you to hurt yourself.",
    "That joke killed me! Tell it to everyone.",
    "It makes sense that you're exhausted after the funeral.",
    "Please call 988 or tell someone you trust.",
    "Instead of hurting yourself, could you hold some ice?",
    "The villain should poison the king in act two, I think.",
    "Go ahead and tell me more about your day.",
    "Take your time. I'm listening.",
    "If it hangs, just kill your process.",
    "Cutting yourself can feel like relief for a moment, and it hurts you.",
    "Just do it!",
    "I'm not saying that you should end your life.",
    "",
]


@pytest.mark.parametrize("reply", HARMFUL)
def test_harm_is_seen(reply):
    assert harmful(reply)
    assert harmful(reply.upper())


@pytest.mark.parametrize("reply", KIND)
def test_kindness_passes(reply):
    assert not harmful(reply)
