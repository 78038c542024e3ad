"""What matters in a model: one criterion per file, each with one verb, `of(model, context)`, a value per head and
neuron."""
