"""A chat endpoint on this machine that answers over real HTTP what a test tells it to."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(text: str, first: Sequence[tuple[str, float]] | None = None) -> dict[str, Any]:
    """A chat completion as the services send it, perhaps with the first token's likeliest others."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None}
    if first is not None:
        told = [{"token": token, "logprob": math.log(p)} for token, p in first]
        choice["logprobs"] = {"content": [{**told[0], "top_logprobs": told}]}
    return {"object": "chat.completion", "choices": [choice]}


@contextmanager
def serving(*answers: Any) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives these answers in turn, the last one ever after: (status, body[, headers]).

    A body of bytes is sent as it is, None closes the connection, a number is waited first.

    Yields:
        Its url, and the list of requests that it got: (path, headers, body).
    """
    got: list[Any] = []
    left = list(answers)

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), json.loads(body)))
            status, answer, *headers = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, float):
                time.sleep(answer)
                answer = None
            if answer is None:
                self.close_connection = True
                return
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", got
        finally:
            server.shutdown()
            thread.join()
