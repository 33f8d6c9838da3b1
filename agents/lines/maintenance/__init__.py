"""The example line `maintenance`: looks after the indices of an OpenSearch cluster, one step after the other."""
