"""A bot that tells Slack when a gate needs a decision: the guide's bot, without polling.

SLACK_WEBHOOK_URL is an incoming webhook; without it the messages are printed. GATEPOST_SCOPE says whose gates:
`GATEPOST_SCOPE=release-42 python slack_bot.py`.
"""

from __future__ import annotations

import json
import os
import urllib.request

from gatepost import GateController


def send_slack_message(text: str) -> None:
    """Sends a message to the channel of the webhook."""
    url = os.environ.get("SLACK_WEBHOOK_URL")
    if not url:
        print(text)
        return
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def tell(name: str) -> None:
    """Says that a gate waits."""
    send_slack_message(f"Gate '{name}' needs approval. Reply /approve or /reject")


if __name__ == "__main__":
    # Until Ctrl-C. What it misses while it is not running still waits when it comes back.
    GateController().notify(tell).join()
