"""`logread` (and `boat logs`): what memlogd has, on standard output."""
