//! Fibonacci by plain recursion: a task that only computes, for measuring how a
//! pool scales. `fib(32)` is some milliseconds, `fib(40)` about a second.

wit_bindgen::generate!();

struct Fib;
export!(Fib);

impl Guest for Fib {
    fn fib(n: u32) -> u64 {
        // Above 93 the result would not fit, but the recursion would take
        // centuries to say so: refuse at once.
        assert!(n <= 93, "fib({n}) does not fit in 64 bits");
        fib(n)
    }
}

fn fib(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fib(n - 1) + fib(n - 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_as_it_should() {
        let first: Vec<_> = (0..10).map(Fib::fib).collect();
        assert_eq!(first, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
    }

    #[test]
    #[should_panic(expected = "fib(94) does not fit")]
    fn refuses_what_cannot_fit() {
        Fib::fib(94);
    }
}
