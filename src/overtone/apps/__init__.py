"""What people meet: ``prompt`` a conversation, ``stream`` many texts, ``words``, ``screen``, ``catalogue``."""
