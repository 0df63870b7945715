"""Event logs that casetrail makes for itself: their causes of delay are known, because they were planted."""
