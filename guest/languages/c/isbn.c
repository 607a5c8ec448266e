// Checks the ISBN on standard input and prints it as 13 digits. What is wrong with it goes to standard error.

#undef NDEBUG // a failed assertion says so

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char DIGITS[] = "0123456789X"; // the last of ten may be an X, which is worth 10

// All of standard input but spaces and hyphens.
static char *read_symbols(size_t *length) {
    size_t room = 64;
    char *symbols = malloc(room);
    int symbol;
    *length = 0;
    while (symbols && (symbol = getchar()) != EOF) {
        if (symbol != '\0' && strchr(" \t\r\n-", symbol)) {
            continue;
        }
        if (*length == room) {
            char *larger = realloc(symbols, room *= 2);
            if (!larger) {
                free(symbols);
                return NULL;
            }
            symbols = larger;
        }
        symbols[(*length)++] = (char)symbol;
    }
    return symbols;
}

// The bytes of the character in UTF-8 that starts here: all but the first are 10xxxxxx.
static size_t width(const char *symbol, const char *end) {
    size_t bytes = 1;
    while (symbol + bytes < end && (symbol[bytes] & 0xc0) == 0x80) {
        bytes++;
    }
    return bytes;
}

static int check_of_10(const int *digits) {
    int sum = 0;
    for (int i = 0; i < 9; i++) {
        sum += (10 - i) * digits[i];
    }
    return (11 - sum % 11) % 11;
}

static int check_of_13(const int *digits) {
    int sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += (i % 2 ? 3 : 1) * digits[i];
    }
    return (10 - sum % 10) % 10;
}

static int verify(int check, int wanted) {
    if (check != wanted) {
        fprintf(stderr, "the check digit should be %c, not %c\n", DIGITS[wanted], DIGITS[check]);
    }
    return check == wanted;
}

int main(void) {
    size_t length;
    char *symbols = read_symbols(&length);
    if (!symbols || ferror(stdin)) {
        perror("standard input");
        return 2;
    }
    if (length == 5 && memcmp(symbols, "panic", 5) == 0) {
        assert(!"asked to panic");
    }
    if (length == 0) {
        fputs("there are no digits\n", stderr);
        return 1;
    }

    // An ISBN of 10 digits is put behind where its prefix will be.
    int digits[13] = {9, 7, 8};
    int *own = length == 10 ? digits + 3 : digits;
    for (size_t i = 0; i < length; i++) {
        int digit;
        if (symbols[i] >= '0' && symbols[i] <= '9') {
            digit = symbols[i] - '0';
        } else if ((symbols[i] == 'X' || symbols[i] == 'x') && i == 9 && length == 10) {
            digit = 10;
        } else {
            fputc('"', stderr);
            fwrite(symbols + i, 1, width(symbols + i, symbols + length), stderr);
            fputs("\" is not a digit\n", stderr);
            return 1;
        }
        if (i < 13) {
            own[i] = digit;
        }
    }

    if (length == 10) {
        if (!verify(own[9], check_of_10(own))) {
            return 1;
        }
        digits[12] = check_of_13(digits);
    } else if (length == 13) {
        if (digits[0] != 9 || digits[1] != 7 || digits[2] < 8) {
            fputs("13 digits have to start with 978 or 979\n", stderr);
            return 1;
        }
        if (!verify(digits[12], check_of_13(digits))) {
            return 1;
        }
    } else {
        fprintf(stderr, "10 or 13 digits are needed, not %zu\n", length);
        return 1;
    }

    for (int i = 0; i < 13; i++) {
        putchar(DIGITS[digits[i]]);
    }
    putchar('\n');
    return 0;
}
