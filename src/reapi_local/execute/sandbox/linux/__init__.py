"""The kernel's own interfaces: system calls, seccomp filters, control groups."""
