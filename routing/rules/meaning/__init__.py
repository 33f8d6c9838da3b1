"""The difference in meaning between two rules tables: records that they decide differently, or a proof that none is."""
