"""What a decoder's graph and whoever runs it call things by."""

# The input that says of how many last positions the logits are computed; all, where it is left out.
KEEP = "logits_to_keep"
# Among the words that a graph says of itself: keys and values may be added in place.
IN_PLACE = "keys_and_values_in_place"
