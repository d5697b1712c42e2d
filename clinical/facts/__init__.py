"""What the words of a note say: assertion, quantities, results, other names. Rules without a model, for all tasks."""
