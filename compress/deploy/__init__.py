"""After a run: serving an export, and tuning that to a machine. What serves needs onnxruntime, numpy and tokenizers."""
