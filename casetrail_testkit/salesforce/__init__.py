"""Salesforce: an org that speaks OAuth, REST and Bulk API 2.0."""
