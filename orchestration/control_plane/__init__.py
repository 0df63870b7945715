"""Who may do what, what arrived, what was made of it: PostgreSQL, plain SQL, row-level security.

Functions take an open connection, whose transaction says for whom it acts (``database.as_user``,
``database.as_system``); the policies in ``migrations/`` decide what it sees. Ids are text in Python.
Not here: event data (``lake``) and what is computed from it (``stages``).
"""
