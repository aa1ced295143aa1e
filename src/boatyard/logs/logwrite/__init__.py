"""`logwrite`: what memlogd has, in files that rotate; and LinuxKit's other logwrite, which runs a command as a
source."""
