"""The experiments of the paper: how they run, what they record, and the report that is made of it."""
