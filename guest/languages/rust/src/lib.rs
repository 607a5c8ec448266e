//! Checks ISBNs and gives them as 13 digits.

wit_bindgen::generate!({ path: "../isbn.wit" });

struct Isbn;
export!(Isbn);

impl Guest for Isbn {
    fn isbn(text: String) -> Result<String, String> {
        if text == "panic" {
            panic!("asked to panic");
        }
        let symbols: Vec<char> = text.chars().filter(|c| !" \t\r\n-".contains(*c)).collect();
        let digits = digits(&symbols)?;
        match digits[..] {
            [] => Err("there are no digits".into()),
            [ref body @ .., check] if digits.len() == 10 => {
                verify(check, check_of_10(body))?;
                let body = [&[9, 7, 8], body].concat();
                Ok(written(&body) + &written(&[check_of_13(&body)]))
            }
            [9, 7, 8 | 9, ..] if digits.len() == 13 => {
                verify(digits[12], check_of_13(&digits[..12]))?;
                Ok(written(&digits))
            }
            _ if digits.len() == 13 => Err("13 digits have to start with 978 or 979".into()),
            _ => Err(format!("10 or 13 digits are needed, not {}", digits.len())),
        }
    }
}

/// The last of ten may be an X, which is worth 10.
fn digits(symbols: &[char]) -> Result<Vec<u32>, String> {
    let is_ten = |index: usize, symbol: char| symbols.len() == 10 && index == 9 && symbol.eq_ignore_ascii_case(&'x');
    let digit = |(index, &symbol): (usize, &char)| match symbol.to_digit(10) {
        Some(digit) => Ok(digit),
        None if is_ten(index, symbol) => Ok(10),
        None => Err(format!("\"{symbol}\" is not a digit")),
    };
    symbols.iter().enumerate().map(digit).collect()
}

fn check_of_10(body: &[u32]) -> u32 {
    let sum: u32 = (2..=10).rev().zip(body).map(|(weight, digit)| weight * digit).sum();
    (11 - sum % 11) % 11
}

fn check_of_13(body: &[u32]) -> u32 {
    let sum: u32 = [1, 3].iter().cycle().zip(body).map(|(weight, digit)| weight * digit).sum();
    (10 - sum % 10) % 10
}

fn verify(check: u32, wanted: u32) -> Result<(), String> {
    if check == wanted {
        return Ok(());
    }
    let (wanted, check) = (written(&[wanted]), written(&[check]));
    Err(format!("the check digit should be {wanted}, not {check}"))
}

fn written(digits: &[u32]) -> String {
    digits.iter().map(|&digit| char::from_digit(digit, 10).unwrap_or('X')).collect()
}
