"""Inference: what a trained run does for people.

``classify`` a run as a classifier, fast · ``calibrate`` honest confidence and the risk rule · ``normalise``
``emojis`` ``sarcasm`` ``backup`` the steps that heal · ``cascade`` the steps in order · ``decisions``
the log · ``readout`` all heads of one text · ``ensemble`` several runs as one · ``forms`` ``export``
``quantise`` the ways to compute it · ``generate`` sampling from a language model ·
``embed`` texts as vectors · ``lexical`` BM25 · ``vectors`` the nearest
of many · ``search`` an index that can be asked · ``indexing`` ``index_store`` how it is made and kept ·
``converse`` a decoder in conversation · ``choose`` how likely each of some texts is to follow ·
``lookup`` which fact answers a question, and whether any does ·
``beam`` ``answer`` a model from scratch that answers · ``endpoint`` a decoder behind an address ·
``export_chat`` ``gguf_file`` a tuned one as others read it · ``policy`` the crisis policy, with
``crisis_detector`` ``crisis_encoder`` ``crisis_words`` ``crisis_views`` ``crisis_fit`` ``crisis_reply``
``crisis_resources``.
"""
