//! Squares a number: the smallest task there is. No SDK, one plain function.

wit_bindgen::generate!();

struct Square;
export!(Square);

impl Guest for Square {
    fn square(x: i64) -> i64 {
        // A wrong answer would look like a right one; a trap fails this item only.
        x.checked_mul(x).unwrap_or_else(|| panic!("the square of {x} does not fit in 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares() {
        assert_eq!(Square::square(-3_037_000_499), 9_223_372_030_926_249_001);
    }

    #[test]
    #[should_panic(expected = "the square of 3037000500 does not fit in 64 bits")]
    fn overflow_is_a_trap_not_a_wrong_answer() {
        Square::square(3_037_000_500);
    }
}
