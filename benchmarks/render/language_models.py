"""A language model in the forms of several programs."""

from __future__ import annotations

from benchmarks.render.table import RATIO, Column, Result, Table, millionth, threads, versions

PROGRAMS = ("onnxruntime-genai", "xllamacpp", "ctranslate2")


def _told(result: Result) -> str:
    request = result["request"]
    return (
        f"Requests of {request['prompt_tokens']} tokens and {request['new_tokens']} new ones, greedy, in turns, "
        f"{threads(result)}; perplexity on {result['windows']} windows of "
        f"{result['documents']} articles, in pairs with FP32, 95% intervals. {result['date']}, "
        f"{versions(result, 'torch', 'onnxruntime', *PROGRAMS)}."
    )


# Quality, speed and size of each form.
DECODERS = Table(
    Column("form", "name"),
    Column("perplexity, times FP32's", "ratio, ratio_interval", "{0:.4f} [{1[0]:.4f}, {1[1]:.4f}]", optional=True),
    Column("KL, nats", "kl_divergence", "{:.4f}", optional=True),
    Column("same token", "same_top_token", "{:.1%}", optional=True),
    Column("first token, ms", "first_token_ms", "{:.0f}"),
    Column("tokens a second", "tokens_per_second", "{:.0f}"),
    Column("request, times FP32's speed", "request, request_interval", RATIO),
    Column("decoding, times", "decoding, decoding_interval", RATIO),
    Column("MB", "bytes", millionth(".0f")),
    Column("memory, MB", "peak_bytes", millionth(".0f")),
    above=_told,
)

# How many times as fast ours is as the other programs' forms of as many bits.
RIVALS = Table(
    Column("ours", "ours"),
    Column("beside", "rival"),
    Column("request, times as fast", "request, request_interval", RATIO),
    Column("decoding, times as fast", "decoding, decoding_interval", RATIO),
    rows="rivals",
)
