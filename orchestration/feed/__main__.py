"""``python -m orchestration.feed``: the feed as a process; ``casetrail up`` starts it, and a container can."""

import logging
import threading

from orchestration.feed.server import FeedServer, logger
from orchestration.settings import Settings, load_settings
from orchestration.stages.inbox_ledger import InboxLedger


def main() -> None:
    """Serve until the process is told to end."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    settings = load_settings()
    ledger = InboxLedger(settings)
    server = FeedServer(
        (settings.feed_host, settings.feed_port),
        token=settings.feed_token,
        topics=settings.feed_topics,
        note=lambda written: ledger.note(written.bucket, written.key),
        sweep=ledger.sweep,
    )
    threading.Thread(target=_sweep_now_and_then, args=(server, settings), daemon=True).start()
    logger.info("listening on %s:%d", settings.feed_host, settings.feed_port)
    server.serve_forever()


def _sweep_now_and_then(server: FeedServer, settings: Settings) -> None:
    """Find what no message told of: it was dropped while nobody listened, or the message got lost."""
    while True:
        server.sweep()
        threading.Event().wait(settings.inbox_sweep_seconds)


if __name__ == "__main__":
    main()
