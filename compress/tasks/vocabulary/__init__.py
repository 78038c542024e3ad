"""A fast tokenizer's vocabulary made smaller: what each algorithm needs so that kept tokens are found as before."""
