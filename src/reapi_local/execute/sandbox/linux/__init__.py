"""What Linux offers for sandboxes, without any policy.

``syscalls`` wraps the system calls that Python has no function for, mounts among them; ``seccomp``
builds the system call filter; ``landlock`` takes rights away; ``cgroup`` limits memory.
"""
