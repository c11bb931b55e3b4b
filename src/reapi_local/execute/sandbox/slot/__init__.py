"""The slot sandbox: small processes kept ready, each running one action after the other."""
