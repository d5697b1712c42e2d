"""Whole folders: one job per document, in processes that may die, with results that survive everything.

A run reads documents one by one, hands them to worker processes, writes each result atomically and
records it in `manifest.jsonl`. What the manifest records is not done again; what it does not record is
done. The job is a description that can be pickled (`clinical.batch.job`), so that another runner can
carry it elsewhere.
"""
