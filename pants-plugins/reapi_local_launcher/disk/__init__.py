"""What reapi-local keeps on the disk of this machine: how much, and what of it is not needed."""
