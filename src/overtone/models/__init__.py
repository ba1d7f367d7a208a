"""Models: what turns text into states, and states into outputs.

``weights`` name → where its weights are · ``body`` what every body is ·
``encoder`` the bidirectional body · ``adapters`` LoRA on a body ·
``heads`` states → one task's outputs · ``states`` of a frozen part, as a body reads them ·
``model`` a body and its heads · ``tfidf`` the linear text model ·
``lstm`` and ``transformer`` language models from scratch.
"""
