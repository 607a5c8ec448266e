// A plugin of wasmpool: a WASI command. The item is its standard input, what it prints is the result, and a code other than 0
// is a failure, with what it printed to standard error.

#include <stdio.h>
#include <string.h>

int main(void) {
    char name[256];
    size_t length = fread(name, 1, sizeof name - 1, stdin);
    name[length] = '\0';
    name[strcspn(name, "\r\n")] = '\0';
    if (name[0] == '\0') {
        fputs("nobody has no name\n", stderr);
        return 1;
    }
    printf("Hello, %s!\n", name);
    return 0;
}
