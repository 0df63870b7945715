"""Asset checks. They show audits that have run before the release; nothing is computed here."""
