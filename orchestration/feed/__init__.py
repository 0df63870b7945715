"""The feed: hears from the object store which files were dropped, so that nobody has to list inboxes for them.

Holds the forms in which stores tell of a new object, the proof that a message is theirs, and the small HTTP server that
enters what it hears into the ledger. What becomes of a dropped file belongs to ``stages.inbox``.
"""
