//! Squares a list of numbers: a task for `--batch`, where one call serves a whole
//! chunk. Worth it where the call costs more than the work, as here.

wit_bindgen::generate!();

struct SquareBatch;
export!(SquareBatch);

impl Guest for SquareBatch {
    fn square_batch(xs: Vec<i64>) -> Vec<i64> {
        xs.into_iter()
            .map(|x| x.checked_mul(x).unwrap_or_else(|| panic!("the square of {x} does not fit in 64 bits")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_as_many_results_as_items_in_order() {
        assert_eq!(SquareBatch::square_batch(vec![3, -2, 0]), [9, 4, 0]);
        assert_eq!(SquareBatch::square_batch(vec![]), [0; 0]);
    }
}
