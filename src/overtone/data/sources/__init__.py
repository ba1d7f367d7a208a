"""One file a data set: its card, its records, its label names and its recipe config.

- ``asl_signing``: questions and answers on how ASL is signed, which the package ships
- ``banking77``: questions to a bank, 77 intents
- ``clinc150``: queries to an assistant, 150 intents and out of scope
- ``dailydialog``: everyday dialogues, dialogue acts and emotions
- ``deaf_knowledge``: facts on Deaf culture, each asked in three ways, which the package ships
- ``education_dialogue``: a teacher and a student on a topic, the user's own files
- ``emobank``: sentences with valence, arousal and dominance
- ``emotion``: English tweets, six emotions (dair-ai)
- ``empathetic_dialogues``: a speaker with one of 32 emotions, and a listener
- ``esconv``: emotional support, eight strategies
- ``eq_bench``: dialogues, how strongly somebody feels each of four emotions; only judges
- ``eq_bench3``: scenarios to play, and the rubric of their judge; only judges
- ``goemotions``: Reddit comments, 27 emotions and neutral, multi-label; or eleven labels of affect
- ``hate_offensive``: tweets, hate speech, offensive or neither
- ``overtone_emotions``: the eight-emotion sentences and edge cases that the package ships
- ``politeness``: requests, rated for politeness
- ``qa_file``: a user's own questions with their answers
- ``reccon``: everyday dialogues, an emotion a turn
- ``sarcasm_headlines``: news headlines, sarcastic or plain
- ``table``: a user's own CSV, TSV, JSONL or Parquet file
- ``tutoring``: tutoring dialogues of Book2Dial, MathDial and CIMA
- ``wikipassages``: passages of Wikipedia, natural text without targets
- ``wikitext2``: Wikipedia articles, tokenised, without targets

A module here that exports ``SOURCE`` is in the catalogue; one that a recipe can name has a config, which
``overtone.data.split`` lists in ``SourceConfig``, or, for conversations, ``overtone.data.conversations``.
"""
