"""Ends in OpenSearch or Elasticsearch: records become documents, written in bulk, with an answer for each."""
