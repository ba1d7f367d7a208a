"""What people meet.

``prompt`` a conversation, ``readouts`` the same with several heads, ``stream`` many texts, ``screen`` what
the verbs print, ``catalogue`` what is known, ``words`` which of the words typed is a run,
``tokenizing`` how a text is cut, ``chat`` a conversation with a tuned decoder, ``persona`` who speaks.
"""
