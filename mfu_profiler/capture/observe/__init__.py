"""What the training does: forwards of the model and steps of its optimizers, seen without a hook."""
