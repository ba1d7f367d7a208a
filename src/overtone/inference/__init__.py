"""Inference: what a trained run does for people.

``classify`` a run as a classifier, fast · ``calibrate`` honest confidence and the risk rule · ``normalise``
``emojis`` ``sarcasm`` ``backup`` the steps that heal · ``cascade`` the steps in order · ``decisions``
the log.
"""
