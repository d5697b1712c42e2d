"""Models: language models, the light token classifier, the spaCy baseline, and where their weights lie."""
