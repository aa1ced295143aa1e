"""`kmsg`: the kernel's messages, on standard error as LinuxKit's, or as a source of memlogd's."""
