"""Everything needed before a model exists: data recipes, the training task, export."""
