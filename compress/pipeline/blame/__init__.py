"""Why a stage missed its accuracy limit: which parts of the model did it, and which milder settings to try."""
