"""Marketo: a subscription that speaks its REST API and Bulk Extract."""
