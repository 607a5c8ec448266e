// Checks ISBNs and gives them as 13 digits. What is thrown is the error of the WIT result.

const DIGITS = "0123456789X"; // the last of ten may be an X, which is worth 10

export function isbn(text) {
  if (text === "panic") {
    throw new Error("asked to panic");
  }
  const symbols = Array.from(text.replace(/[ \t\r\n-]/g, ""));
  if (symbols.length === 0) {
    throw "there are no digits";
  }
  const digits = symbols.map(digit);
  switch (digits.length) {
    case 10: {
      const body = digits.slice(0, 9);
      verify(digits[9], checkOf10(body));
      body.unshift(9, 7, 8);
      return written([...body, checkOf13(body)]);
    }
    case 13: {
      const text = written(digits);
      if (!/^97[89]/.test(text)) {
        throw "13 digits have to start with 978 or 979";
      }
      verify(digits[12], checkOf13(digits.slice(0, 12)));
      return text;
    }
    default:
      throw `10 or 13 digits are needed, not ${digits.length}`;
  }
}

function digit(symbol, index, symbols) {
  if (/^[0-9]$/.test(symbol)) {
    return Number(symbol);
  }
  if (/^[Xx]$/.test(symbol) && index === 9 && symbols.length === 10) {
    return 10;
  }
  throw `"${symbol}" is not a digit`;
}

function checkOf10(body) {
  const sum = body.reduce((sum, digit, index) => sum + (10 - index) * digit, 0);
  return (11 - (sum % 11)) % 11;
}

function checkOf13(body) {
  const sum = body.reduce((sum, digit, index) => sum + (index % 2 ? 3 : 1) * digit, 0);
  return (10 - (sum % 10)) % 10;
}

function verify(check, wanted) {
  if (check !== wanted) {
    throw `the check digit should be ${DIGITS[wanted]}, not ${DIGITS[check]}`;
  }
}

function written(digits) {
  return digits.map((digit) => DIGITS[digit]).join("");
}
