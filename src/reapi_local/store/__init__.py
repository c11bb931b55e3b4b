"""Where blobs and action results are kept: generations, leases, and what is stacked on them."""
