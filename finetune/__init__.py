"""Training commands and recipes. Imported as `clinical.finetune`."""
