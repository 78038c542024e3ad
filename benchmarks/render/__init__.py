"""Write the tables and pictures of README and docs from benchmarks/results, where a page asks for one.

python -m benchmarks.render           # rewrite what differs
python -m benchmarks.render --check   # only say what differs, and which results are older than their code

A page asks with a comment, `<!-- results: stages NAME -->`; what stands between it and `<!-- end of results -->` is
written by this package. NAME is a file of benchmarks/results. `stages` is one of `pages.FORMS`: most are a `Table`, a
list of columns, each with its heading, where its value stands in a row of the results, and how it is written.
"""
