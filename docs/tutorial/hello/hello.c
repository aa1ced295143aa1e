#include <stdio.h>

int main(int argc, char **argv)
{
    char line[256] = "";
    FILE *motd = fopen("/etc/motd", "r");
    if (motd && !fgets(line, sizeof line, motd))
        line[0] = 0;
    printf("Hello, %s.%s%s", argc > 1 ? argv[1] : "world", line[0] ? " I was " : "", line[0] ? line : "\n");
    return 0;
}
